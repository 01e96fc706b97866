"""What models there are: the embedded one, the released ones that are known by name, and what is on this disk."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import beacon_pocket
from beacon_cli.checkpoints.catalogue import POCKET, released
from beacon_cli.checkpoints.local.converted import models_root
from beacon_cli.checkpoints.local.elsewhere import gguf_files_elsewhere
from beacon_cli.checkpoints.local.hub_cache import cached_repository, hub_cache, repository_of
from beacon_cli.checkpoints.local.model_folder import check_model_folder, count_parameters, is_merged, read_settings
from beacon_cli.checkpoints.local.record import read_record
from beacon_cli.errors import ModelError
from beacon_cli.settings import Condense

# In the order in which they are listed.
State = Literal["embedded", "converted", "unusable", "downloaded", "incomplete", "of another program", "not here"]


@dataclass(frozen=True)
class KnownModel:
    """A model, with a beacon or without.

    Attributes:
        id: what `--model` takes.
        base: the base model's name; empty if not known before it is here.
        condense: what condenses for it, if nothing else is said.
        window: tokens in an interval; None if not known.
        ratios: condensing ratios that it was trained for; empty if not known.
        licence: empty if not known.
        state: incomplete is a download that ended before its end; unusable a converted model that is damaged; of
            another program a GGUF file that Ollama or LM Studio has.
        size: bytes of the folder or file; 0 if there is none.
        folder: of the converted or embedded model; None if there is none.
        download: bytes that the hub's cache has of its repository, all revisions of it.
        to_fetch: bytes of its weights on the hub; None if not known.
        beacon_bits: of a converted model's beacon.
        revision: the commit that it was converted from.
        created: when it was converted.
        problem: why it is unusable.
    """

    id: str
    base: str = ""
    window: int | None = None
    ratios: tuple[int, ...] = ()
    licence: str = ""
    state: State = "not here"
    size: int = 0
    folder: Path | None = None
    download: int = 0
    to_fetch: int | None = None
    beacon_bits: int | None = None
    revision: str | None = None
    created: str | None = None
    problem: str | None = None
    condense: Condense = "beacon"


def known_models() -> list[KnownModel]:
    """All of them: the embedded one, those that are converted, those that are only downloaded, and the others known."""
    known = {
        entry.id: KnownModel(entry.id, entry.base, entry.window, entry.ratios, entry.licence, to_fetch=entry.download)
        for entry in released()
    }
    found = {POCKET: _embedded()}
    for model in _converted():
        repository = repository_of(model.id)
        to_fetch = known[repository].to_fetch if repository in known else None
        found[model.id] = replace(model, to_fetch=to_fetch, download=_bytes(cached_repository(repository)))
    for repository in {*_cached(), *known} - found.keys():
        model, size = known.get(repository) or KnownModel(repository), _bytes(cached_repository(repository))
        found[repository] = replace(model, download=size, state=_download_state(repository) if size else "not here")
    for name, path in gguf_files_elsewhere().items():
        made = found.pop(os.path.realpath(path), None)
        found[name] = replace(made, id=name) if made else _elsewhere(name, path)
    order = list(get_args(State))
    return sorted(found.values(), key=lambda model: (order.index(model.state), model.id))


def known_model(name: str) -> KnownModel:
    """The model called `name`: its id, or the folder that it was made of or is in.

    Raises:
        ModelError: if there is none.
    """
    path = Path(os.path.realpath(os.path.expanduser(name)))
    for model in known_models():
        if name == model.id or str(path) == model.id or (model.folder and path == Path(os.path.realpath(model.folder))):
            return model
    raise ModelError(f"no model is called {name}; `beacon models list` shows what is known and what is here")


def _embedded() -> KnownModel:
    folder = beacon_pocket.FOLDER
    settings = read_settings(folder / "beacon", "beacon_config.json")["settings"]
    ratios = tuple(sorted(settings["ratios"]))
    return KnownModel(
        POCKET,
        f"own, {count_parameters(folder) / 1e6:.1f} million parameters",
        settings["window"],
        ratios,
        "apache-2.0",
        "embedded",
        _bytes(folder),
        folder,
    )


def _elsewhere(name: str, path: Path) -> KnownModel:
    return KnownModel(
        name, base=name.rpartition("/")[2], state="of another program", size=path.stat().st_size, condense="select"
    )


def _converted() -> Iterator[KnownModel]:
    root = models_root()
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        size = _bytes(folder)
        try:
            record = read_record(folder)
            check_model_folder(folder)
        except ModelError as error:
            yield KnownModel(str(folder), state="unusable", size=size, folder=folder, problem=str(error))
            continue
        yield KnownModel(
            id=record.source,
            base=record.base,
            window=record.window,
            ratios=record.ratios,
            licence=record.licence,
            state="converted",
            size=size,
            folder=folder,
            beacon_bits=record.beacon_bits,
            revision=record.revision,
            created=record.created,
            condense="beacon" if (folder / "beacon").is_dir() else "select",
        )


def _cached() -> Iterator[str]:
    """Merged checkpoints that the hub's cache has, in part at least."""
    root = hub_cache()
    for folder in root.glob("models--*--*") if root.is_dir() else []:
        for snapshot in folder.glob("snapshots/*"):
            with suppress(ModelError):
                if is_merged(snapshot):
                    yield folder.name.removeprefix("models--").replace("--", "/")


def _download_state(repository: str) -> State:
    for snapshot in cached_repository(repository).glob("snapshots/*"):
        with suppress(ModelError):
            check_model_folder(snapshot)
            return "downloaded"
    return "incomplete"


def _bytes(folder: Path) -> int:
    """Of the files in a folder; what links point to is counted where it is."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a download that goes on renames its files
            status = path.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total

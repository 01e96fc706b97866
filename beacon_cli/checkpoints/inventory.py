"""What models there are: the default, the released ones that are known by name, and what is on this disk."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from beacon_cli.checkpoints import default_model as default
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL, released
from beacon_cli.checkpoints.local.converted import models_root
from beacon_cli.checkpoints.local.elsewhere import gguf_files_elsewhere
from beacon_cli.checkpoints.local.hub_cache import cached_repository, hub_cache, repository_of
from beacon_cli.checkpoints.local.model_folder import check_model_folder, is_merged, read_settings
from beacon_cli.checkpoints.local.record import read_record
from beacon_cli.errors import ModelError

# In the order in which they are listed.
State = Literal["converted", "unusable", "downloaded", "incomplete", "of another program", "not here"]


@dataclass(frozen=True)
class KnownModel:
    """A model with its beacon.

    Attributes:
        id: what `--model` takes.
        base: the base model's name; empty if not known before it is here.
        window: tokens in an interval; None if not known.
        ratios: condensing ratios that it was trained for; empty if not known.
        licence: empty if not known.
        state: incomplete is a download that ended before its end; unusable a converted model that is damaged; of
            another program a GGUF file that Ollama or LM Studio has.
        size: bytes of the folder or file; 0 if there is none.
        folder: of the converted model; None if there is none.
        download: bytes that the hub's cache has of its repository, all revisions of it.
        to_fetch: bytes of its weights on the hub; None if not known.
        beacon_bits: of a converted model's beacon.
        revision: the commit that it was converted from.
        created: when it was converted.
        problem: why it is unusable.
        parameters: of the base model; None if not known.
        context: positions that it was made for; None if not known.
        adapters: that come with this tool.
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
    parameters: int | None = None
    context: int | None = None
    adapters: tuple[str, ...] = ()


def known_models() -> list[KnownModel]:
    """All of them: the default, those that are converted, those that are only downloaded, and the others known."""
    known = {
        entry.id: KnownModel(entry.id, entry.base, entry.window, entry.ratios, entry.licence, to_fetch=entry.download)
        for entry in released()
    }
    own = _default()
    found = {own.id: own}
    for model in _converted():
        if model.id == own.id:
            found[own.id] = replace(own, state="converted", size=model.size, folder=model.folder, created=model.created)
            continue
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
    return sorted(found.values(), key=lambda model: (model.id != own.id, order.index(model.state), model.id))


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


def _default() -> KnownModel:
    """The default model, before it is converted."""
    known, file = default.KNOWN, default.base_file()
    beacon = {}
    if (folder := default.beacon_folder()).is_dir():
        beacon = read_settings(folder, "beacon_config.json")["settings"]
    return KnownModel(
        DEFAULT_MODEL,
        known.base,
        beacon.get("window"),
        tuple(sorted(beacon.get("ratios", ()))),
        known.licence,
        "downloaded" if file else "not here",
        file.stat().st_size if file else 0,
        to_fetch=known.download,
        parameters=known.parameters,
        context=known.context,
        adapters=default.adapters(),
    )


def _elsewhere(name: str, path: Path) -> KnownModel:
    return KnownModel(name, base=name.rpartition("/")[2], state="of another program", size=path.stat().st_size)


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

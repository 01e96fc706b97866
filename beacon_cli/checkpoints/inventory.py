"""What models there are: the default, those of the catalogue, and what is on this disk."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from beacon_cli.checkpoints import default_model as default
from beacon_cli.checkpoints.catalogue import Llm, Released, llms, released
from beacon_cli.checkpoints.local.converted import models_root
from beacon_cli.checkpoints.local.elsewhere import gguf_files_elsewhere
from beacon_cli.checkpoints.local.gguf_name import hub_file, is_later_part
from beacon_cli.checkpoints.local.hub_cache import (
    cached_repository,
    hub_cache,
    pulled_file,
    pulled_files,
    pulled_parts,
    repository_of,
)
from beacon_cli.checkpoints.local.model_folder import check_model_folder, is_merged, read_settings
from beacon_cli.checkpoints.local.record import read_record
from beacon_cli.checkpoints.memory import Fit, fit_of_16_bits
from beacon_cli.checkpoints.selecting import SELECT, condensers
from beacon_cli.errors import ModelError
from beacon_cli.settings import Condense

# In the order in which they are listed.
State = Literal["converted", "unusable", "downloaded", "incomplete", "of another program", "not here"]


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
        folder: of the converted model; None if there is none.
        download: bytes that the hub's cache has of its repository, all revisions of it; of its file, if it is one.
        to_fetch: bytes of its weights on the hub; None if not known.
        beacon_bits: of a converted model's beacon.
        revision: the commit that it was converted from.
        created: when it was converted.
        problem: why it is unusable.
        prompts: how what it was trained on is put; empty if not known.
        source: of an LLM with a short name, the file on the hub; else empty.
        parameters: of an LLM with a short name; None if not known.
        context: positions that it was made for; None if not known.
        adapters: that come with this tool.
        memory: bytes of an LLM's weights in 16 bits, which is the least that it needs; None if not known.
        fits: whether they fit into this machine's free memory; None if not known.
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
    prompts: str = ""
    source: str = ""
    parameters: int | None = None
    context: int | None = None
    adapters: tuple[str, ...] = ()
    memory: int | None = None
    fits: Fit | None = None


def known_models() -> list[KnownModel]:
    """All of them: the default, those that are converted, those that are only downloaded, and the others known."""
    known = {entry.id: _by_id(entry) for entry in released()}
    short = {entry.file: entry.name for entry in llms().values()}
    known |= {entry.name: _by_short_name(entry) for entry in llms().values()}
    own = _default()
    found = {own.id: own}
    for model in _converted():
        if model.id == own.id:
            found[own.id] = replace(own, state="converted", size=model.size, folder=model.folder, created=model.created)
            continue
        name = short.get(model.id, model.id)
        entry = known.get(name) or known.get(repository_of(name)) or KnownModel(name)
        told = {field: getattr(entry, field) for field in ("source", "context", "memory", "fits", "to_fetch")}
        found[name] = replace(model, id=name, download=_download(name), **told)
    files = {short.get(name, name) for name in pulled_files() if not is_later_part(name)}
    for name in {*_cached(), *files, *known} - found.keys():
        unknown = KnownModel(name, condense="select" if hub_file(name) else "beacon")
        model, size = known.get(name, unknown), _download(name)
        found[name] = replace(model, download=size, state=_download_state(name) if size else "not here")
    for name, path in gguf_files_elsewhere().items():
        made = found.pop(os.path.realpath(path), None)
        found[name] = replace(made, id=name) if made else _elsewhere(name, path)
    order = list(get_args(State))
    return sorted(found.values(), key=lambda model: (model.id != own.id, order.index(model.state), model.id))


def known_model(name: str) -> KnownModel:
    """The model called `name`: its id, another name of its file on the hub, or the folder that it was made of or is in.

    Raises:
        ModelError: if there is none.
    """
    path = Path(os.path.realpath(os.path.expanduser(name)))
    file = hub_file(name)
    for model in known_models():
        own = hub_file(model.id)
        if file and own and own.repository == file.repository and file.choose([own.file]):
            return model
        if name == model.id or str(path) == model.id or (model.folder and path == Path(os.path.realpath(model.folder))):
            return model
    raise ModelError(f"no model is called {name}; `beacon models list` shows what is known and what is here")


def _default() -> KnownModel:
    """The default model, before it is converted: an LLM with a short name, and adapters of its own."""
    file, beacon = default.base_file(), {}
    there = condensers(folder := default.beacon_folder())
    if "beacon" in there:
        beacon = read_settings(folder, "beacon_config.json")["settings"]
    return replace(
        _by_short_name(default.KNOWN),
        window=beacon.get("window"),
        ratios=tuple(sorted(beacon.get("ratios", ()))),
        condense=default.best_condenser(there),
        state="downloaded" if file else "not here",
        size=file.stat().st_size if file else 0,
        adapters=default.adapters(),
    )


def _by_id(entry: Released) -> KnownModel:
    known = KnownModel(entry.id, entry.base, entry.window, entry.ratios, entry.licence, prompts=entry.prompts)
    return replace(known, to_fetch=entry.download)


def _by_short_name(entry: Llm) -> KnownModel:
    return KnownModel(
        entry.name,
        entry.base,
        licence=entry.licence,
        condense="select",
        source=entry.file,
        parameters=entry.parameters,
        context=entry.context,
        memory=2 * entry.parameters,
        fits=fit_of_16_bits(entry.parameters),
        to_fetch=entry.download,
    )


def _elsewhere(name: str, path: Path) -> KnownModel:
    base, size = name.rpartition("/")[2], path.stat().st_size
    return KnownModel(name, base=base, state="of another program", size=size, condense="select")


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
            prompts=record.prompts,
            state="converted",
            size=size,
            folder=folder,
            beacon_bits=record.beacon_bits,
            revision=record.revision,
            created=record.created,
            condense=(*condensers(folder / "beacon"), SELECT)[0],
        )


def _cached() -> Iterator[str]:
    """Merged checkpoints that the hub's cache has, in part at least."""
    root = hub_cache()
    for folder in root.glob("models--*--*") if root.is_dir() else []:
        for snapshot in folder.glob("snapshots/*"):
            with suppress(ModelError):
                if is_merged(snapshot):
                    yield folder.name.removeprefix("models--").replace("--", "/")


def _download(name: str) -> int:
    """Bytes that the hub's cache has of a repository, or of a GGUF file and what has arrived of it."""
    file = hub_file(name)
    if file is None:
        return _bytes(cached_repository(repository_of(name)))
    paths = {part.resolve() for parts in pulled_parts(file) for part in parts}
    whole = sum(path.stat().st_size for path in paths if path.exists())
    return whole + sum(path.stat().st_size for path in cached_repository(file.repository).glob("blobs/*.partial"))


def _download_state(repository: str) -> State:
    if hub_file(repository):
        return "downloaded" if pulled_file(repository) else "incomplete"
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

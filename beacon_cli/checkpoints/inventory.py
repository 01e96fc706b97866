"""What models there are: the default, those of the catalogue, and what is on this disk."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

from activation_beacon.files import CONFIG_FILE
from beacon_cli.checkpoints import default_model as default
from beacon_cli.checkpoints.catalogue import KnownModel, State, catalogue, llms
from beacon_cli.checkpoints.condensers import best_condenser
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
from beacon_cli.errors import ModelError


def known_models() -> list[KnownModel]:
    """All of them: the default, those that are converted, those that are only downloaded, and the others known."""
    known, short = catalogue(), {entry.source: name for name, entry in llms().items()}
    own = _default()
    found = {own.id: own}
    for model in _converted():
        if model.id == own.id:
            found[own.id] = replace(own, state="converted", size=model.size, folder=model.folder, created=model.created)
            continue
        name = short.get(model.id, model.id)
        entry = known.get(name) or known.get(repository_of(name)) or KnownModel(name)
        told = {field: getattr(entry, field) for field in ("source", "parameters", "context", "to_fetch")}
        found[name] = replace(model, id=name, download=_download(name), **told)
    files = {short.get(name, name) for name in pulled_files() if not is_later_part(name)}
    for name in {*_cached(), *files, *known} - found.keys():
        unknown = KnownModel(name, condense="select" if hub_file(name) else "beacon")
        model, size = known.get(name, unknown), _download(name)
        found[name] = replace(model, download=size, state=_download_state(name) if size else "not here")
    for name, path in gguf_files_elsewhere().items():
        made = found.pop(os.path.realpath(path), None)
        base, size = name.rpartition("/")[2], path.stat().st_size
        there = KnownModel(name, base=base, state="of another program", size=size, condense="select")
        found[name] = replace(made, id=name) if made else there
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
    folder = default.beacon_folder()
    condense = best_condenser(folder)
    if condense == "beacon":
        beacon = read_settings(folder, CONFIG_FILE)["settings"]
    return replace(
        default.KNOWN,
        window=beacon.get("window"),
        ratios=tuple(sorted(beacon.get("ratios", ()))),
        condense=condense,
        state="downloaded" if file else "not here",
        size=file.stat().st_size if file else 0,
        adapters=default.adapters(),
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
            prompts=record.prompts,
            state="converted",
            size=size,
            folder=folder,
            beacon_bits=record.beacon_bits,
            revision=record.revision,
            created=record.created,
            condense=best_condenser(folder / "beacon"),
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
    return whole + _bytes(cached_repository(file.repository) / "blobs", ending=".partial")


def _download_state(repository: str) -> State:
    if hub_file(repository):
        return "downloaded" if pulled_file(repository) else "incomplete"
    for snapshot in cached_repository(repository).glob("snapshots/*"):
        with suppress(ModelError):
            check_model_folder(snapshot)
            return "downloaded"
    return "incomplete"


def _bytes(folder: Path, *, ending: str = "") -> int:
    """Of the files in a folder whose names end so; what links point to is counted where it is.

    Files and folders that go while this looks are left out: a download that goes on renames and removes some.
    """
    total = 0
    for place, _, names in os.walk(folder):  # which leaves out a folder that has gone; `Path.rglob` fails on it
        for name in names:
            with suppress(FileNotFoundError):
                status = os.lstat(os.path.join(place, name))
                total += status.st_size if stat.S_ISREG(status.st_mode) and name.endswith(ending) else 0
    return total

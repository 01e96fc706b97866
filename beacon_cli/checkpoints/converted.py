"""The converted models on this disk: making, finding and removing them.

Each is a folder below `models_root()`. A hub repository's is called `owner--name` (`@revision` behind it, if one was
asked for); that of a merged checkpoint in a folder `local--name--` and a hash of its path.
"""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from beacon_cli import __version__
from beacon_cli.checkpoints.catalogue import released
from beacon_cli.checkpoints.hub.repository import cached_repository, local_folder, repository_of, resolve_model
from beacon_cli.checkpoints.local.fingerprint import check_hub_files
from beacon_cli.checkpoints.local.folders import REPLACED, UNFINISHED, clean_up, leftovers, unused
from beacon_cli.checkpoints.local.model_folder import CONFIG, check_model_folder, companions, weight_files
from beacon_cli.checkpoints.local.record import RECORD_FILE, Record, read_record
from beacon_cli.durable.locks import builders
from beacon_cli.errors import ModelError
from beacon_cli.events import Note, Progress, Stage, silent

_LICENCE = re.compile(r"\A---\n(?:.*\n)*?licen[cs]e: *[\"']?([\w.-]+)")


def models_root() -> Path:
    """Where converted models are: `BEACON_MODELS_DIR`, else `models` in the user's data folder."""
    named = os.environ.get("BEACON_MODELS_DIR")
    return Path(named).expanduser() if named else platformdirs.user_data_path("beacon", appauthor=False) / "models"


def converted(name: str) -> Path | None:
    """What the merged checkpoint `name` was converted to; None if it was not, or is a folder that has changed since.

    Raises:
        ModelError: if `name` is neither a folder nor a hub id, or what was converted cannot be used.
    """
    source, target = local_folder(name), _target(name)
    if not target.is_dir():
        return None
    record = read_record(target)
    return target if source is None or record.stamp == _stamp(source) else None


def obtain(
    name: str,
    *,
    beacon_bits: int | None,
    cache: Path,
    target: Path | None = None,
    progress: Progress = silent,
    offline: bool = False,
) -> Path:
    """Convert the merged checkpoint `name`, a hub id or a folder, which is fetched first if need be.

    What is converted already, from the same files and with the same `beacon_bits`, is left as it is.

    Args:
        beacon_bits: of the beacon's weights; None takes 16, or leaves what is converted already.
        cache: where fingerprints and locks are.
        target: the folder to make; by default one below `models_root()`.
        offline: see `resolve_model`.

    Raises:
        ModelError: if it cannot be fetched, converted or written, or the folder to make is in use or something else.
    """
    # Imported here because it imports torch, which a list of models can do without.
    from beacon_cli.checkpoints.convert.conversion import convert  # noqa: PLC0415  imports torch
    from beacon_cli.checkpoints.convert.merged import check_config, open_merged  # noqa: PLC0415  imports torch

    place = target or _target(name)
    local = local_folder(name)
    if local:
        check_model_folder(local)
    folder = local or resolve_model(name, kind="model", check=check_config, progress=progress, offline=offline)
    identity = os.path.realpath(local) if local else name
    revision, stamp = (None, _stamp(local)) if local else (folder.name, None)
    lock = _lock(place, cache)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        progress(Note(f"another process is converting {name}; waiting for it"))
        held = lock.acquire()
    with held:
        _sweep(cache)
        made = _made(place, identity)
        if made and (made.revision, made.stamp) == (revision, stamp) and beacon_bits in (None, made.beacon_bits):
            return place
        progress(Stage(f"checking {name}"))
        source = open_merged(folder)
        if not local:
            check_hub_files(folder, cache)
        known = {entry.id: entry for entry in released()}.get(repository_of(name))
        record = Record(
            source=identity,
            revision=revision,
            stamp=stamp,
            generation=source.generation,
            base=known.base if known else source.stock["architectures"][0],
            window=source.config.window,
            ratios=tuple(sorted(source.config.usable_ratios)),
            licence=_licence(folder) or (known.licence if known else ""),
            beacon_bits=beacon_bits or 16,
            source_bytes=source.size,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=__version__,
        )
        with unused(place):
            convert(source, place, record, cache, progress)
    return place


def remove(folder: Path, cache: Path) -> None:
    """Remove a converted model.

    Raises:
        ModelError: if it is in use, being converted, or cannot be removed.
    """
    try:
        held = _lock(folder, cache).acquire(timeout=0)
    except Timeout:
        raise ModelError(f"{folder} is being converted; wait until that is done, or stop it") from None
    unfinished, _ = leftovers(folder)
    with held, unused(folder):
        try:
            clean_up(folder)
            # Renamed first: what is deleted in part must not look like a model.
            folder.rename(unfinished)
            shutil.rmtree(unfinished)
        except OSError as error:
            raise ModelError(f"{folder} cannot be removed ({error.strerror}); check its permissions") from error


def remove_download(name: str) -> None:
    """Remove what the hub's cache has of the repository of a hub id, whatever revision that names.

    Raises:
        ModelError: if it cannot be removed.
    """
    folder = cached_repository(repository_of(name))
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ModelError(f"{folder} cannot be removed ({error.strerror}); check its permissions") from error


def _target(name: str) -> Path:
    folder = local_folder(name)
    if folder is None:
        return models_root() / name.replace("/", "--")
    path = os.path.realpath(folder)
    readable = re.sub(r"[^\w.-]+", "-", os.path.basename(path))
    return models_root() / f"local--{readable}--{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _stamp(folder: Path) -> str:
    """What tells one state of a folder's files from another, without reading them."""
    files = [folder / CONFIG, *weight_files(folder), *companions(folder)]
    state = [(path.name, stat.st_size, stat.st_mtime_ns) for path in files if (stat := path.stat())]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


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


def _lock(place: Path, cache: Path) -> FileLock:
    """The lock of those who write to `place`."""
    locks = cache / "locks"
    name = hashlib.sha256(os.fsencode(os.path.realpath(place))).hexdigest()
    try:
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"{locks} cannot be made ({error.strerror}); name another folder in BEACON_CACHE_DIR"
        ) from error
    return builders(locks / f"model-{name[:32]}")


def _sweep(cache: Path) -> None:
    """Clean up after conversions of other models that were killed."""
    for suffix in (UNFINISHED, REPLACED):
        for left in models_root().glob(f".*{suffix}"):
            target = left.with_name(left.name.removeprefix(".").removesuffix(suffix))
            with suppress(Timeout), _lock(target, cache).acquire(timeout=0):
                clean_up(target)


def _licence(folder: Path) -> str:
    """What the head of the repository's README calls its licence."""
    with suppress(OSError, UnicodeDecodeError):
        if found := _LICENCE.match((folder / "README.md").read_text(encoding="utf-8")[:10_000]):
            return found[1]
    return ""

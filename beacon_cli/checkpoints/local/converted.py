"""The converted models on this disk: where they are, and who may write there or remove one.

Each is a folder below `models_root()`. A hub repository's is called `owner--name` (with `@revision` after it, if one
was asked for, and `--FILE.gguf` after that, if it is one file of the repository); that of a checkpoint in a folder, or
of a GGUF file on this disk, `local--name--` and a hash of its path. It is written beside its place and moved there when
it is whole.
"""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from beacon_cli.checkpoints.local.gguf_name import hub_file, parts_of
from beacon_cli.checkpoints.local.lease import unused
from beacon_cli.checkpoints.local.model_folder import CONFIG, companions, local_model, weight_files
from beacon_cli.checkpoints.local.record import read_record
from beacon_cli.durable.locks import builders
from beacon_cli.errors import ModelError

_UNFINISHED, _REPLACED = ".partial", ".replaced"


def models_root() -> Path:
    """Where converted models are: `BEACON_MODELS_DIR`, else `models` in the user's data folder."""
    named = os.environ.get("BEACON_MODELS_DIR")
    return Path(named).expanduser() if named else platformdirs.user_data_path("beacon", appauthor=False) / "models"


def place_of(name: str) -> Path:
    """Where the merged checkpoint or GGUF file `name` is converted to, unless its user names another folder."""
    folder = local_model(name)
    if folder is None:
        return _place_of_file(name) or models_root() / name.replace("/", "--")
    path = os.path.realpath(folder)
    readable = re.sub(r"[^\w.-]+", "-", os.path.basename(path))
    return models_root() / f"local--{readable}--{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _place_of_file(name: str) -> Path | None:
    """The same for a GGUF file on the hub; None for something else, or a tag of which no file is converted yet."""
    file = hub_file(name)
    if file is None or file.file:
        return models_root() / str(file).replace("/", "--") if file else None
    beginning = str(file).removesuffix(f":{file.tag}").replace("/", "--") + "--"
    made = [folder.name.removeprefix(beginning) for folder in models_root().glob(f"{beginning}*")]
    found = file.choose(made)
    return models_root() / (beginning + found[0]) if found else None


def find_converted(name: str) -> Path | None:
    """What the merged checkpoint or GGUF file `name` was converted to; None if it was not, or has changed since.

    Raises:
        ModelError: if `name` is neither a folder nor a hub id, or what was converted cannot be used.
    """
    source, target = local_model(name), place_of(name)
    if not target.is_dir():
        return None
    record = read_record(target)
    return target if source is None or record.stamp == stamp(source) else None


def leftovers(target: Path) -> tuple[Path, Path]:
    """Where `target` is written before it is whole, and where it goes before it is deleted."""
    return target.with_name(f".{target.name}{_UNFINISHED}"), target.with_name(f".{target.name}{_REPLACED}")


def clean_up(target: Path) -> None:
    """Delete what a conversion to `target` that was killed has left; a model that it had taken away is put back."""
    unfinished, replaced = leftovers(target)
    if replaced.exists() and not target.exists():
        replaced.rename(target)
    for folder in (unfinished, replaced):
        shutil.rmtree(folder, ignore_errors=True)


def stamp(source: Path) -> str:
    """What tells one state of a file (all parts of it), or of a folder's files, from another, without reading them."""
    parts = [part for name in parts_of(source.name) if (part := source.with_name(name)).exists()]
    files = parts if source.is_file() else [source / CONFIG, *weight_files(source), *companions(source)]
    state = [(path.name, stat.st_size, stat.st_mtime_ns) for path in files if (stat := path.stat())]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def writing_lock(place: Path, cache: Path) -> FileLock:
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


def sweep_up(cache: Path) -> None:
    """Clean up after conversions of other models that were killed."""
    for suffix in (_UNFINISHED, _REPLACED):
        for left in models_root().glob(f".*{suffix}"):
            target = left.with_name(left.name.removeprefix(".").removesuffix(suffix))
            with suppress(Timeout), writing_lock(target, cache).acquire(timeout=0):
                clean_up(target)


def remove(folder: Path, cache: Path) -> None:
    """Remove a converted model.

    Raises:
        ModelError: if it is in use, being converted, or cannot be removed.
    """
    try:
        held = writing_lock(folder, cache).acquire(timeout=0)
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

"""What a checkpoint's weights are, as one hash: computed once, then remembered while its files stay the same."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beacon_cli.errors import CacheError, ModelError
from beacon_cli.hub import check_model_folder, expected_sha256, weight_files
from beacon_cli.store.files import make_private_folder, write_durably

# Settings that say where a model is from and which tool wrote it, not what it computes.
_IRRELEVANT = {"_name_or_path", "auto_map", "base_name", "dtype", "torch_dtype", "transformers_version"}
# Two changes of a file within one tick of the file system's clock leave the same time of change.
_TICK_NS = 20_000_000


@dataclass(frozen=True)
class _File:
    """A file as it was when it was hashed."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


def model_fingerprint(folder: Path, cache: Path) -> str:
    """SHA-256 (hexadecimal) over a base model's weights, as they are stored, and its `config.json`.

    The same in every copy of the folder; other with any byte or name of a weight file and any setting but those that
    cannot change what the model computes. The tokenizer has no part in it.

    Args:
        cache: the folder below which file hashes are remembered. When it cannot be written, they are computed anew.

    Raises:
        ModelError: if the folder is not a whole model, cannot be read, or holds a file from the hub whose content does
            not match the hub's checksum.
    """
    check_model_folder(folder)
    return _fingerprint(folder / "config.json", weight_files(folder), cache)


def beacon_fingerprint(folder: Path, cache: Path) -> str:
    """The same over `beacon.safetensors` and `beacon_config.json`.

    Raises:
        ModelError: as `model_fingerprint`.
    """
    return _fingerprint(folder / "beacon_config.json", [folder / "beacon.safetensors"], cache)


def _fingerprint(config: Path, weights: Sequence[Path], cache: Path) -> str:
    settings = {key: value for key, value in _read_settings(config).items() if key not in _IRRELEVANT}
    files = _hash_files(weights, cache)
    content = [[name, file.size, file.sha256] for name, file in sorted(files.items())]
    return hashlib.sha256(json.dumps([settings, content], sort_keys=True).encode()).hexdigest()


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): give the folder of a whole model") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({error}): download or convert the model again") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{path} is damaged (no mapping): download or convert the model again")
    return settings


def _hash_files(paths: Sequence[Path], cache: Path) -> dict[str, _File]:
    """By name. All files are in one folder."""
    folder = os.path.realpath(paths[0].parent)
    memo = cache / "fingerprints" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()}.json"
    known = _read_memo(memo)
    files, fresh = {}, {}
    for path in paths:
        file, settled = _hash_file(path, known.get(path.name))
        files[path.name] = file
        if settled and file != known.get(path.name):
            fresh[path.name] = file
    if fresh:
        _write_memo(memo, {**known, **fresh})
    return files


def _hash_file(path: Path, known: _File | None) -> tuple[_File, bool]:
    """The file's hash, and whether it may be remembered."""
    try:
        with path.open("rb") as content:
            now = time.time_ns()
            stat = os.fstat(content.fileno())
            if known and (known.size, known.mtime_ns, known.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino):
                return known, True
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): restore or download it again") from error
    if expected_sha256(path) not in (None, sha256):
        raise ModelError(
            f"{path} does not match the hub's checksum; delete {path.resolve()} and run the same command again"
        )
    return _File(stat.st_size, stat.st_mtime_ns, stat.st_ino, sha256), abs(now - stat.st_mtime_ns) > _TICK_NS


def _read_memo(path: Path) -> dict[str, _File]:
    try:
        return {name: _File(**fields) for name, fields in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # Missing or damaged: the hashes are computed anew.
        return {}


def _write_memo(path: Path, files: dict[str, _File]) -> None:
    # A cache that cannot be written costs time, not the answer.
    with suppress(OSError, CacheError):
        path.parent.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent.parent, path.parent):
            make_private_folder(folder)
        write_durably(path, json.dumps({name: asdict(file) for name, file in files.items()}).encode())

"""What a checkpoint's files are, as one hash: computed once, then remembered while they stay the same."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activation_beacon.files import CONFIG_FILE, SCORER_FILE, WEIGHTS_FILE
from beacon_cli.checkpoints.local.hub_cache import discard, expected_sha256
from beacon_cli.checkpoints.local.model_folder import check_model_folder, read_settings, weight_files
from beacon_cli.durable.files import make_private_folder, write_durably
from beacon_cli.errors import CacheError, ModelError

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

    @classmethod
    def of(cls, stat: os.stat_result, sha256: str) -> "_File":
        """A file with that status and that hash."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino, sha256)


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
    return _fingerprint(read_settings(folder), weight_files(folder), cache)


def beacon_fingerprint(folder: Path, cache: Path) -> str:
    """The same over `beacon.safetensors`, as it is stored, and `beacon_config.json`.

    Raises:
        ModelError: as `model_fingerprint`.
    """
    return _fingerprint(read_settings(folder, CONFIG_FILE), [folder / WEIGHTS_FILE], cache)


def scorer_fingerprint(folder: Path, cache: Path) -> str:
    """The same over `scorer.safetensors`, which has its settings in it.

    Raises:
        ModelError: as `model_fingerprint`.
    """
    return _fingerprint({}, [folder / SCORER_FILE], cache)


def remembered(content: str, cache: Path, compute: Callable[[], str]) -> str:
    """The hash that `compute` gives, computed once for what has the hash `content`.

    Args:
        cache: see `model_fingerprint`.
    """
    memo = cache / "fingerprints" / f"{content}.txt"
    with suppress(OSError, UnicodeDecodeError):
        known = memo.read_text("ascii")
        if re.fullmatch("[0-9a-f]{64}", known):
            return known
    computed = compute()
    _write_memo(memo, computed.encode())
    return computed


def check_hub_files(paths: Sequence[Path], cache: Path) -> None:
    """Check files in one folder of the hub's cache against the hub's checksums; a bad file is deleted.

    Args:
        cache: see `model_fingerprint`.

    Raises:
        ModelError: if a file does not match.
    """
    _hash_files([path for path in paths if expected_sha256(path)], cache)


def _fingerprint(config: Mapping[str, Any], weights: Sequence[Path], cache: Path) -> str:
    settings = {key: value for key, value in config.items() if key not in _IRRELEVANT}
    files = _hash_files(weights, cache)
    content = [[name, file.size, file.sha256] for name, file in sorted(files.items())]
    return hashlib.sha256(json.dumps([settings, content], sort_keys=True).encode()).hexdigest()


def _hash_files(paths: Sequence[Path], cache: Path) -> dict[str, _File]:
    """By name. All files are in one folder."""
    if not paths:
        return {}
    folder = os.path.realpath(paths[0].parent)
    memo = cache / "fingerprints" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()}.json"
    known, files, fresh = _read_memo(memo), {}, {}
    for path in paths:
        before = known.get(path.name)
        files[path.name], settled = _hash_file(path, before)
        if settled and files[path.name] != before:
            fresh[path.name] = files[path.name]
    if fresh:
        content = {name: asdict(file) for name, file in {**known, **fresh}.items()}
        _write_memo(memo, json.dumps(content).encode())
    return files


def _hash_file(path: Path, before: _File | None) -> tuple[_File, bool]:
    """The file's hash, and whether it may be remembered."""
    try:
        with path.open("rb") as content:
            now = time.time_ns()
            stat = os.fstat(content.fileno())
            if before is not None and before == _File.of(stat, before.sha256):
                return before, True
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): restore or download it again") from error
    if expected_sha256(path) not in (None, sha256):
        discard(path)
        raise ModelError(f"{path} does not match the hub's checksum and is deleted: run the same command again")
    return _File.of(stat, sha256), abs(now - stat.st_mtime_ns) > _TICK_NS


def _read_memo(path: Path) -> dict[str, _File]:
    try:
        return {name: _File(**fields) for name, fields in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # Missing or damaged: the hashes are computed anew.
        return {}


def _write_memo(path: Path, content: bytes) -> None:
    # A cache that cannot be written costs time, not the answer.
    with suppress(OSError, CacheError):
        path.parent.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent.parent, path.parent):
            make_private_folder(folder)
        write_durably(path, content)

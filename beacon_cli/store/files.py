"""Files that outlive a power cut and that nobody else can read (POSIX)."""

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from beacon_cli.errors import CacheError

TEMPORARY_SUFFIX = ".tmp"


def make_private_folder(folder: Path) -> None:
    """Create `folder` with mode 0700 whatever the umask, durably; one that exists stays as it is.

    Raises:
        OSError: if it cannot be created, or something else stands there.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    os.chmod(folder, 0o700)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path`, mode 0600: after a crash at any instant `path` holds the old content or all of the new.

    Raises:
        CacheError: if the disk is full, broken or read-only. Usually `path` is then as it was; it holds the new content
            only if the very last step, making the name durable, failed.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        _write_and_sync(temporary, data)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise write_error(path, error) from error


def _write_and_sync(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def what_is_wrong(path: Path, size: int, sha256: str) -> str | None:
    """How the file at `path` differs from one of `size` bytes with checksum `sha256`; None if it does not."""
    try:
        with path.open("rb") as file:
            present = os.fstat(file.fileno()).st_size
            if present != size:
                return f"{path.name} has {present} bytes instead of {size}"
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                return f"{path.name} does not match its checksum"
    except FileNotFoundError:
        return f"{path.name} is missing"
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    return None


def write_error(path: Path, error: OSError) -> CacheError:
    """The one line that says why `path` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "make room and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "make the folder writable, or name another one in BEACON_CACHE_DIR"
    else:
        advice = "check that disk and run the same command again"
    return CacheError(f"cannot write {path}: {error.strerror}; what was finished before is kept: {advice}")


def damaged(folder: Path, what: str) -> CacheError:
    """The one line that says why the cache of one document cannot be used."""
    return CacheError(
        f"the cache in {folder} cannot be used: {what}; "
        f"rebuild it with --refresh, or remove it with `beacon cache rm {folder.name}`"
    )

"""Files that outlive a power cut and that nobody else can read (POSIX)."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beacon_cli.errors import CacheError

TEMPORARY_SUFFIX = ".tmp"


def check_private(folder: Path) -> None:
    """Refuse a folder that another user could have filled.

    Raises:
        CacheError: if it belongs to someone else, or someone else may write to it.
        OSError: if it is not there, or cannot be looked at.
    """
    stat = folder.stat()
    if stat.st_uid != os.geteuid():
        raise CacheError(
            f"{folder} belongs to another user (uid {stat.st_uid}, you are {os.geteuid()}), who could put a forged "
            "memory there; name a folder of your own in BEACON_CACHE_DIR, or take it over with chown"
        )
    if stat.st_mode & 0o022:
        raise CacheError(
            f"{folder} can be written by others (mode {stat.st_mode & 0o777:o}), who could put a forged memory there; "
            f"check what is in it and close it with `chmod 700 {folder}`"
        )


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
    sync_path(folder.parent)


def sync_path(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
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
        with new_file(temporary) as write:
            write(data)
        os.replace(temporary, path)
        sync_path(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise write_error(path, error) from error


@contextmanager
def new_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Write a file, mode 0600, with the function that this yields; in the end its contents (not its name) are durable.

    Raises:
        OSError: if it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    try:
        os.fchmod(descriptor, 0o600)
        yield write
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def share_durably(source: Path, target: Path) -> None:
    """Let `target` be the same file as `source`, or a copy where the file system cannot.

    Raises:
        OSError: if `source` cannot be read.
        CacheError: if `target` cannot be written.
    """
    try:
        os.link(source, target)
        sync_path(target.parent)
    except OSError:
        write_durably(target, source.read_bytes())


def write_error(path: Path, error: OSError) -> CacheError:
    """The one line that says why `path` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "make room and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "make the folder writable, or name another one in BEACON_CACHE_DIR"
    else:
        advice = "check that disk and run the same command again"
    return CacheError(f"cannot write {path}: {error.strerror}; what was finished before is kept: {advice}")

"""Who is at a folder: one writer, or any number of readers, or one process that removes it.

Writers exclude each other by a `filelock.FileLock`. Readers share the lock of another file; whoever deletes what they
may be reading takes that one alone. Both are locks of the kernel, which go with the process that holds them, however it
ends; the empty files stay, so that no two processes can ever lock two files of one name.

On local disks (ext4, xfs, btrfs, zfs, tmpfs, APFS) all this is guaranteed. On network file systems it is what the
server makes of `flock`: NFS 4 with a Linux client and SMB lock between machines; NFS mounted with `nolock` or
`local_lock=flock`, and most FUSE file systems, between processes of one machine only. There, two machines may build the
same book twice, and a removal may break off somebody's reading with an error; never is anything torn or damaged taken
for whole: names carry checksums, nothing is written in place, and every byte is checked when it is read. Where there
are no locks at all (some FUSE, NFS and WSL mounts), nothing is built or written: what is there can be read.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from beacon_cli.durable.files import write_error
from beacon_cli.errors import CacheError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

# What file systems without locks answer.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def check_platform() -> None:
    """Refuse a system on which nothing here can be guaranteed: importing this module works there, using it does not.

    Raises:
        CacheError: on Windows.
    """
    if not HAS_LOCKS:
        raise CacheError(
            "beacon keeps models and condensed documents only where files can be locked as on Linux and macOS; "
            "on Windows, run it in WSL (Windows Subsystem for Linux)"
        )


class WriterLock(FileLock):
    """A lock of the kernel, or none: filelock's way out is a file, which a killed process would leave behind."""

    def acquire(self, *args: Any, **options: Any) -> Any:
        try:
            return super().acquire(*args, **options)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                folder = Path(self.lock_file).parent
                raise CacheError(
                    f"the file system of {folder} has no locks ({error.strerror}), without which two processes could "
                    "write the same files: name a folder on a local disk, for the cache in BEACON_CACHE_DIR"
                ) from error
            raise


def builders(path: Path) -> FileLock:
    """A lock that one writer holds at a time, in whichever thread or process; not held yet.

    Taking it raises CacheError where the file system has no locks.
    """
    return WriterLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)


def acquire(lock: FileLock, *, wait: bool) -> bool:
    """Take `lock`, unless it is ours already; False if somebody else has it and we do not wait.

    Raises:
        CacheError: if its file cannot be opened, or on Windows.
    """
    check_platform()
    if lock.is_locked:
        return True
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return False
    except OSError as error:
        raise write_error(Path(lock.lock_file), error) from error
    return True


@contextmanager
def no_builder(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep builders away meanwhile.

    Args:
        wait: for one that is there.

    Raises:
        BlockingIOError: if there is one, and we do not wait.
        CacheError: if `path` cannot be opened.
    """
    lock = builders(path)
    if not acquire(lock, wait=wait):
        raise BlockingIOError
    try:
        yield
    finally:
        lock.release(force=True)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Let nobody delete files meanwhile; waits while somebody does, which takes a moment.

    Raises:
        OSError: if `path` cannot be opened.
    """
    with _opened(path) as descriptor:
        flock(descriptor, alone=False)
        yield


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep readers waiting meanwhile.

    Raises:
        BlockingIOError: if there is a reader.
        OSError: if `path` cannot be opened.
    """
    with _opened(path) as descriptor:
        flock(descriptor, alone=True)
        yield


def flock(descriptor: int, *, alone: bool) -> None:
    """Lock an open file, alone if nobody else has a lock, or with others as soon as nobody has it alone.

    Where the file system has no locks, go on without.

    Raises:
        BlockingIOError: if somebody else has a lock, and we want it alone.
        CacheError: on Windows.
        OSError: for any other reason.
    """
    check_platform()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    check_platform()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        yield descriptor
    finally:
        os.close(descriptor)

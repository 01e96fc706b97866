"""What is wrong with a cache that cannot be used, and reading a file of it whole or not at all."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from beacon_cli.errors import CacheError


class DamageError(CacheError):
    """A cache of one document that cannot be used.

    Attributes:
        what: what is wrong with it; the message also says what to do.
    """

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(
            f"the cache in {folder} cannot be used: {what}; "
            f"repair it with `beacon cache verify --repair {folder.name}`, rebuild it with --refresh, "
            f"or remove it with `beacon cache rm {folder.name}`"
        )
        self.what = what


def unreadable(path: Path, error: OSError) -> DamageError:
    """A file of a cache that cannot be read."""
    what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return DamageError(path.parent, f"{path.name} {what}")


def check_size(path: Path, file: os.stat_result, size: int) -> None:
    """Refuse, with DamageError, a file of a cache that is not `size` bytes long."""
    if file.st_size != size:
        raise DamageError(path.parent, f"{path.name} has {file.st_size} bytes instead of {size}")


def read_checked(path: Path, size: int, sha256: str) -> bytes:
    """The content of a file of a cache.

    Raises:
        DamageError: if it is missing, cannot be read, or is not what it was.
    """
    try:
        with path.open("rb") as file:
            check_size(path, os.fstat(file.fileno()), size)
            data = file.read()
    except OSError as error:
        raise unreadable(path, error) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamageError(path.parent, f"{path.name} does not match its checksum")
    return data


@dataclass(frozen=True)
class Damage:
    """Something in a cache that is not as it was written.

    Attributes:
        what: what is wrong with it.
        shard: which shard; None for the page texts.
    """

    what: str
    shard: int | None

"""The bytes of a document before anyone knows what they are: opened, measured, hashed."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import BinaryIO

from beacon_cli.documents.remote import fetch, is_remote
from beacon_cli.errors import DocumentError
from beacon_cli.settings import nearest

_HEAD_BYTES = 4096


@dataclass(frozen=True)
class RawFile:
    """An open, seekable file.

    `name` stands in messages, `path` is absolute (None for standard input and pipes). With `stamp`, another process
    can tell whether what lies at `real_path` (None as above) is still the same, see `reopen`.
    """

    name: str
    path: str | None
    file: BinaryIO
    real_path: str | None = None
    stamp: tuple[int, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all bytes, in hex."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()  # type: ignore[arg-type]  # a BinaryIO has what it asks for

    @cached_property
    def size(self) -> int:
        """Length in bytes."""
        return self.file.seek(0, os.SEEK_END)

    @cached_property
    def head(self) -> bytes:
        """The first 4,096 bytes."""
        self.file.seek(0)
        return self.file.read(_HEAD_BYTES)

    def read(self) -> bytes:
        """All bytes."""
        self.file.seek(0)
        return self.file.read()

    def error(self, reason: str) -> DocumentError:
        """A `DocumentError` that names this file."""
        return DocumentError(f"{self.name}: {reason}")


def open_raw(path: str) -> RawFile:
    """Open `path`, or standard input for `-`.

    A pipe is read to its end and kept in memory, and so is what lies elsewhere (`s3://…`); a regular file is read
    where it lies. Raises `DocumentError` for what is missing, not permitted, not a file, or empty.
    """
    if path == "-":
        raw = _stdin()
    elif is_remote(path):
        raw = RawFile(printable(path), printable(path), BytesIO(fetch(path)))
    else:
        raw = _open_path(path)
    if raw.size == 0:
        raw.file.close()
        raise raw.error("is empty: there is nothing to read")
    return raw


def printable(text: str) -> str:
    """`text`, a path or part of one, on one line and encodable as UTF-8 whatever bytes the file system holds."""
    decoded = os.fsencode(text).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in decoded)


def _stdin() -> RawFile:
    if sys.stdin is None:
        raise DocumentError("stdin: is closed: name a file, or pipe one in")
    return in_memory("stdin", sys.stdin.buffer.read())


def _open_path(path: str) -> RawFile:
    name = printable(path)
    if os.path.isdir(path):
        raise DocumentError(f"{name}: is a directory: name a document in it")
    try:
        file = open(path, "rb")  # noqa: SIM115 - the RawFile holds it
    except FileNotFoundError as error:
        raise DocumentError(f"{name}: no such file{_similar(path) or ': check the path'}") from error
    except PermissionError as error:
        raise DocumentError(f"{name}: may not be read: check the permissions (chmod u+r)") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"{name}: cannot be opened ({reason}): check the path") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode):
        absolute = os.path.abspath(path)
        return RawFile(name, printable(absolute), file, absolute, _stamp(status))
    with file:
        if stat.S_ISFIFO(status.st_mode):
            return in_memory(name, file.read())
        raise DocumentError(f"{name}: is neither a file nor a pipe: name a document")


def _similar(path: str) -> str:
    """A hint at the file of that folder whose name is nearly that of `path`; empty if there is none."""
    folder, name = os.path.split(path)
    try:
        return printable(nearest(name, os.listdir(folder or ".")))
    except OSError:
        return ""


def in_memory(name: str, data: bytes) -> RawFile:
    """`data` as a file that lies nowhere."""
    return RawFile(name, None, BytesIO(data))


def reopen(path: str, stamp: tuple[int, ...]) -> BinaryIO:
    """Open the same bytes anew; `DocumentError` if the file at `path` is not the one of this `stamp` any more."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - the caller closes it
        if _stamp(os.fstat(file.fileno())) == stamp:
            return file
        file.close()
    except OSError:
        pass  # gone, which is a change too
    raise DocumentError(f"{printable(path)}: has changed while it was being read: run the command again")


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

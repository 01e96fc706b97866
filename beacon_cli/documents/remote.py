"""Documents that lie elsewhere: at any location that fsspec knows, like `s3://bucket/books` or `https://…/a.pdf`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from beacon_cli.errors import DocumentError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://")


def is_remote(path: str) -> bool:
    """Whether `path` is a location by its form, `scheme://…`."""
    return _SCHEME.match(path) is not None


def fetch(location: str) -> bytes:
    """The bytes of a document.

    Raises:
        DocumentError: if they cannot be had.
    """
    with _reaching(location) as fsspec, fsspec.open(location, "rb") as file:
        data: bytes = file.read()
        return data


def documents_at(location: str, suffixes: Collection[str]) -> list[str]:
    """The documents in a folder or bucket and in its folders, by name; of what is none, the location itself.

    Raises:
        DocumentError: if it cannot be listed.
    """
    with _reaching(location) as fsspec:
        system, path = fsspec.core.url_to_fs(location)
        if not system.isdir(path):
            return [location]
        files = [str(system.unstrip_protocol(name)) for name in system.find(path)]
        return sorted(each for each in files if PurePosixPath(each).suffix.lower() in suffixes)


@contextmanager
def _reaching(location: str) -> Iterator[Any]:
    """fsspec; what goes wrong with it is said of `location`."""
    try:
        import fsspec  # noqa: PLC0415  heavy, and seldom needed

        yield fsspec
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DocumentError(
            f"{location}: cannot be read ({reason}): check the location and the rights to it"
        ) from error

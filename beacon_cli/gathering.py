"""Which documents are meant: files, folders, patterns that the shell left as they are, and standard input."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from beacon_cli.documents.opening import SUFFIXES, SUPPORTED
from beacon_cli.documents.raw import printable
from beacon_cli.errors import DocumentError, SettingsError

STDIN = "-"


@dataclass(frozen=True)
class Place:
    """Where a document is.

    Attributes:
        path: of a file, or `-` for standard input.
        folder: the folder that was named, if the file was only found in it; then it may be left out.
    """

    path: str
    folder: str | None = None


def find_documents(arguments: Sequence[str]) -> list[Place]:
    """The documents that `arguments` name, in their order; those of a folder and of a pattern by name.

    A folder stands for all documents in it and in its folders, hidden ones excepted.

    Raises:
        DocumentError: for a folder without documents, and a pattern that nothing matches.
        SettingsError: if standard input is named twice.
    """
    places = [place for argument in arguments for place in _places(argument)]
    if sum(place.path == STDIN for place in places) > 1:
        raise SettingsError("standard input can be read only once; name - only once")
    return places


def _places(argument: str) -> Iterator[Place]:
    if os.path.isdir(argument):
        yield from _in_folder(argument)
    elif argument == STDIN or os.path.lexists(argument) or not glob.has_magic(argument):
        yield Place(argument)  # if it is not there, opening it says so
    else:
        matching = sorted(glob.glob(argument, recursive=True))
        if not matching:
            raise DocumentError(f"{printable(argument)}: no file matches this pattern: check the path")
        for path in matching:
            yield from _in_folder(path) if os.path.isdir(path) else [Place(path)]


def _in_folder(folder: str) -> Iterator[Place]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(parent, name)
            for name in files
            if not name.startswith(".") and PurePath(name).suffix.lower() in SUFFIXES
        ]
    if not found:
        raise DocumentError(f"{printable(folder)}: no document is in this directory: name one with {SUPPORTED} files")
    for path in sorted(found):
        yield Place(path, folder)

"""Which documents are meant: files, folders, patterns that the shell left as they are, and standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from beacon_cli.documents.opening import SUFFIXES, SUPPORTED
from beacon_cli.documents.raw import open_raw, printable
from beacon_cli.documents.remote import documents_at, is_remote
from beacon_cli.errors import DocumentError, SettingsError

STDIN = "-"
# What a program names documents by.
Documents = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Place:
    """Where a document is.

    Attributes:
        path: of a file, or `-` for standard input.
        folder: the folder that was named, if the file was only found in it; then it may be left out.
        text: the document itself, if it is no file; then `path` is its name.
        key: of what the cache has of it, if it is to be taken from there; then `path` is what was said.
    """

    path: str
    folder: str | None = None
    text: str | None = None
    key: str | None = None


def paths_of(documents: Documents) -> list[str]:
    """The paths that a program named, one or several."""
    return [os.fspath(each) for each in ([documents] if isinstance(documents, str | os.PathLike) else documents)]


def find_documents(arguments: Sequence[str], cached: Callable[[str], str | None] | None = None) -> list[Place]:
    """The documents that `arguments` name, in their order; those of a folder and of a pattern by name.

    Args:
        cached: the key of the cache that an argument means which is no file; None if it means none.

    Raises:
        DocumentError: for a folder without documents, a pattern that nothing matches, and a file that is missing, empty
            or not to be read: before anything heavy is loaded or fetched.
        SettingsError: if standard input is named twice.
    """
    places = []
    for argument in arguments:
        key = cached(argument) if cached is not None and not os.path.lexists(argument) else None
        found = [Place(argument, key=key)] if key is not None else places_of(argument)
        if not found:
            raise _none_there(argument)
        places += found
    if sum(place.path == STDIN for place in places) > 1:
        raise SettingsError("standard input can be read only once; name - only once")
    for place in places:
        # Not for pipes: what is read of them is gone.
        if (
            place.folder is None
            and place.key is None
            and place.path != STDIN
            and not is_remote(place.path)
            and (os.path.isfile(place.path) or not os.path.exists(place.path))
        ):
            open_raw(place.path).file.close()
    return places


def places_of(argument: str, suffixes: Collection[str] = SUFFIXES) -> list[Place]:
    """What one argument names: itself, there or not; none for a pattern that nothing matches.

    A folder stands for all files in it and in its folders, which may be none, that end in one of `suffixes`.
    """
    if is_remote(argument):
        found = documents_at(argument, suffixes)
        return [Place(path, None if path == argument else argument) for path in found]
    is_pattern = glob.has_magic(argument) and not os.path.lexists(argument)
    places = []
    for path in sorted(glob.glob(argument, recursive=True)) if is_pattern else [argument]:
        if os.path.isdir(path):
            places += [Place(found, path) for found in files_in(path, suffixes)]
        else:
            places.append(Place(path))
    return places


def files_in(folder: str, suffixes: Collection[str]) -> list[str]:
    """The files in a folder and in its folders, by path, whose names end in one of `suffixes` (".pdf"), in any case.

    Hidden files and folders are left out; links to folders are not followed.
    """
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(parent, name)
            for name in files
            if not name.startswith(".") and PurePath(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def _none_there(argument: str) -> DocumentError:
    if os.path.isdir(argument):
        return DocumentError(
            f"{printable(argument)}: no document is in this directory: name one with {SUPPORTED} files"
        )
    return DocumentError(f"{printable(argument)}: no document matches this pattern: check the path")

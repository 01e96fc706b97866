"""Which documents are meant: files, folders, patterns that the shell left as they are, and standard input."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beacon_cli.documents.finding import files_in, matching
from beacon_cli.documents.opening import SUFFIXES, SUPPORTED
from beacon_cli.documents.raw import open_raw, printable
from beacon_cli.errors import DocumentError, SettingsError

STDIN = "-"


@dataclass(frozen=True)
class Place:
    """Where a document is.

    Attributes:
        path: of a file, or `-` for standard input.
        folder: the folder that was named, if the file was only found in it; then it may be left out.
        text: the document itself, if it is no file; then `path` is its name.
    """

    path: str
    folder: str | None = None
    text: str | None = None


def find_documents(arguments: Sequence[str]) -> list[Place]:
    """The documents that `arguments` name, in their order; those of a folder and of a pattern by name.

    A folder stands for all documents in it and in its folders, hidden ones excepted.

    Raises:
        DocumentError: for a folder without documents, a pattern that nothing matches, and a file that is missing, empty
            or not to be read: before anything heavy is loaded or fetched.
        SettingsError: if standard input is named twice.
    """
    places = [place for argument in arguments for place in _places(argument)]
    if sum(place.path == STDIN for place in places) > 1:
        raise SettingsError("standard input can be read only once; name - only once")
    for place in places:
        # Not for pipes: what is read of them is gone.
        if (
            place.folder is None
            and place.path != STDIN
            and (os.path.isfile(place.path) or not os.path.exists(place.path))
        ):
            open_raw(place.path).file.close()
    return places


def _places(argument: str) -> Iterator[Place]:
    paths = matching(argument)
    if not paths:
        raise DocumentError(f"{printable(argument)}: no file matches this pattern: check the path")
    for path in paths:
        if not os.path.isdir(path):
            yield Place(path)
            continue
        found = files_in(path, SUFFIXES)
        if not found:
            raise DocumentError(f"{printable(path)}: no document is in this directory: name one with {SUPPORTED} files")
        yield from (Place(each, path) for each in found)

"""Reading whole collections to see what of them can be read."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import Literal

from beacon_cli.documents.finding import Place, places_of
from beacon_cli.documents.opening import open_document
from beacon_cli.documents.raw import printable
from beacon_cli.documents.selection import PageSelection
from beacon_cli.errors import BeaconError, DocumentError
from beacon_cli.events import Counting, Progress, silent

State = Literal["read", "warned", "refused"]


@dataclass(frozen=True)
class Inspected:
    """What reading a document came to.

    Attributes:
        path: as found, printable.
        state: read; warned if something of it was not read or is uncertain; refused.
        pages: how many were read.
        words, characters: in them.
        seconds: that it took.
        remarks: the warnings, or why it was refused, a line each.
    """

    path: str
    state: State
    pages: int
    words: int
    characters: int
    seconds: float
    remarks: tuple[str, ...]


def paths_of(arguments: Sequence[str]) -> list[str]:
    """The files that `arguments` name, each once, in their order; one that is missing too, to say so in its row.

    Raises `DocumentError` if none of them is there.
    """
    places = [place for argument in arguments for place in places_of(argument) or [Place(argument)]]
    if not any(os.path.exists(place.path) and not os.path.isdir(place.path) for place in places):
        raise DocumentError(
            f"{', '.join(map(repr, arguments))}: no document there; name files or folders with documents"
        )
    return list(dict.fromkeys(place.path for place in places))


def survey(
    paths: Sequence[str],
    *,
    password: str | None = None,
    pages: PageSelection | None = None,
    progress: Progress = silent,
) -> list[Inspected]:
    """Read documents, as many at a time as there are processors: what each came to, in the order of `paths`."""
    found: dict[int, Inspected] = {}

    def work(index: int) -> tuple[int, Inspected]:
        return index, inspect(paths[index], password=password, pages=pages)

    progress(Counting("reading", 0, len(paths)))
    # Its threads are daemons: Ctrl-C need not wait for them. The processes that they read with end with this one.
    with ThreadPool(min(os.cpu_count() or 1, len(paths))) as pool:
        for index, inspected in pool.imap_unordered(work, range(len(paths))):
            found[index] = inspected
            progress(Counting("reading", len(found), len(paths)))
    return [found[index] for index in range(len(paths))]


def inspect(path: str, *, password: str | None = None, pages: PageSelection | None = None) -> Inspected:
    """Read a document."""
    began = time.perf_counter()
    name = printable(path)
    read = words = characters = 0
    try:
        with open_document(path, password=password, pages=pages) as document:
            for page in document.pages():
                read += 1
                words += len(page.text.split())
                characters += len(page.text)
            remarks = tuple(document.warnings)
        state: State = "warned" if remarks else "read"
    except BeaconError as error:
        state, remarks = "refused", (str(error).removeprefix(f"{name}: "),)
    except Exception as error:  # a defect of this tool: it is a row as any other, and the rest is looked at
        reason = " ".join(str(error).split())[:200]
        state, remarks = "refused", (f"beacon failed unexpectedly ({type(error).__name__}: {reason})",)
    if state == "refused":
        read = words = characters = 0
    return Inspected(name, state, read, words, characters, time.perf_counter() - began, remarks)

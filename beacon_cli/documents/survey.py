"""Reading whole collections to see what of them can be read."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from beacon_cli.documents.finding import Place, places_of
from beacon_cli.documents.opening import open_document
from beacon_cli.documents.raw import printable
from beacon_cli.documents.selection import PageSelection
from beacon_cli.errors import BeaconError, DocumentError
from beacon_cli.events import Counting, Progress, silent


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
    state: Literal["read", "warned", "refused"]
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
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Inspected]] = queue.SimpleQueue()
    for index in range(len(paths)):
        waiting.put(index)

    def work() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            done.put((index, inspect(paths[index], password=password, pages=pages)))

    # Daemons, so that Ctrl-C need not wait for them; the processes that they read with end with this one.
    for _ in range(min(os.cpu_count() or 1, len(paths))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, Inspected] = {}
    while len(found) < len(paths):
        progress(Counting("reading", len(found), len(paths)))
        index, inspected = done.get()
        found[index] = inspected
    return [found[index] for index in range(len(paths))]


def inspect(path: str, *, password: str | None = None, pages: PageSelection | None = None) -> Inspected:
    """Read a document."""
    began = time.perf_counter()
    name = printable(path)

    def refused(remark: str) -> Inspected:
        return Inspected(name, "refused", 0, 0, 0, time.perf_counter() - began, (remark,))

    read = words = characters = 0
    try:
        with open_document(path, password=password, pages=pages) as document:
            for page in document.pages():
                read += 1
                words += len(page.text.split())
                characters += len(page.text)
            remarks = tuple(document.warnings)
    except BeaconError as error:
        return refused(str(error).removeprefix(f"{name}: "))
    except Exception as error:  # a defect of this tool: it is a row as any other, and the rest is looked at
        return refused(f"beacon failed unexpectedly ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
    state: Literal["read", "warned"] = "warned" if remarks else "read"
    return Inspected(name, state, read, words, characters, time.perf_counter() - began, remarks)

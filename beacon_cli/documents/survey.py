"""Reading whole collections to see what of them can be read."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from beacon_cli.documents.finding import files_in, matching
from beacon_cli.documents.opening import SUFFIXES, open_document
from beacon_cli.documents.raw import printable
from beacon_cli.documents.selection import PageSelection
from beacon_cli.errors import BeaconError, DocumentError


@dataclass(frozen=True)
class Finding:
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


def find_documents(places: Iterable[str]) -> list[str]:
    """The files that `places` name, each once: files as they are, folders by the suffixes of what is in them, patterns.

    Raises `DocumentError` if there is none.
    """
    found: dict[str, None] = {}
    for place in places:
        for match in matching(place) or [place]:
            found.update(dict.fromkeys(files_in(match, SUFFIXES) if os.path.isdir(match) else [match]))
    if not any(map(os.path.lexists, found)):
        raise DocumentError(f"{', '.join(map(repr, places))}: no document there; name files or folders with documents")
    return list(found)


def survey(
    paths: Sequence[str], *, password: str | None = None, pages: PageSelection | None = None
) -> Iterator[Finding]:
    """Read documents, as many at a time as there are processors; yield what each came to in the order of `paths`."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Finding]] = queue.SimpleQueue()
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
    early: dict[int, Finding] = {}
    for wanted in range(len(paths)):
        while wanted not in early:
            index, finding = done.get()
            early[index] = finding
        yield early.pop(wanted)


def inspect(path: str, *, password: str | None = None, pages: PageSelection | None = None) -> Finding:
    """Read a document."""
    began = time.perf_counter()
    name = printable(path)

    def refused(remark: str) -> Finding:
        return Finding(name, "refused", 0, 0, 0, time.perf_counter() - began, (remark,))

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
    return Finding(name, state, read, words, characters, time.perf_counter() - began, remarks)

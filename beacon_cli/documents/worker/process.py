"""A document read by another process, which is ended when it takes too long or too much, and started anew."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from typing import Any, Literal

from beacon_cli.documents.content import Extras, Kind, PageContent
from beacon_cli.documents.pdf import running_heads
from beacon_cli.documents.selection import PageSelection
from beacon_cli.documents.worker.protocol import Facts, Opening, decode, encode
from beacon_cli.errors import DocumentError
from beacon_cli.quantities import counted, format_size

# How many pages the process may be ahead. It also stops when its unread texts fill the pipe.
_AHEAD = 8
# A longer line than this is not what `Limits.page_characters` lets through.
_LONGEST_LINE_FACTOR = 8

# Bytes above which it is no wonder that a document that is read whole takes too much.
_LARGE = 10**8

Reason = Literal["time", "memory", "crash"]


class LostError(Exception):
    """The process did not survive what was asked of it, for this `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class ReadingProcess:
    """Opens the document anew in a process of its own; close it when done.

    The process sees no Ctrl-C, and ends when this one ends, in any way.

    Raises `DocumentError` if the document is refused, takes too long or too much memory to open, or if the system
    does not allow another process.
    """

    def __init__(self, opening: Opening, data: bytes | None) -> None:
        self._opening, self._data, self._limits = opening, data, opening.limits
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = bytearray()
        self._lost: list[int] = []
        self._running: list[tuple[str, int | None, int]] = []
        self.facts = self._open()

    def extras(self) -> Extras:
        """Labels, sections and notes; none if finding them takes too much."""
        try:
            fields = self._ask({"extras": True}, self._limits.open_seconds)
        except LostError:
            self._open()
            return Extras()
        return Extras(tuple(fields["labels"]), tuple(fields["sections"]), tuple(fields["notes"]))

    def find_running_heads(self) -> None:
        """Look at some pages for heads, to leave them out of all."""
        samples: dict[int, list[str]] = {}
        for number in running_heads.sample(self.facts.page_count):
            try:
                samples[number] = self._ask({"edges": number}, self._limits.page_seconds)["edges"]
            except LostError:
                self._lost.append(number)
                self._open()
                break  # the pages asked for may be others
        self._running = [astuple(head) for head in running_heads.find(samples)]

    def pages(self, numbers: Sequence[int]) -> Iterator[PageContent]:
        """Yield these pages, extracted ahead of whoever reads them; a lost one costs its process and is passed over.

        Raises `DocumentError` when too many are lost, or when all of them take too long.
        """
        limit, spent = self._limits.all_seconds + self._limits.all_seconds_per_page * len(numbers), 0.0
        wanted = [number for number in numbers if number not in self._lost]
        sent = received = 0
        for number in numbers:
            content = PageContent("", "lost")
            if spent > limit:
                raise self._too_long(numbers, number, limit)
            waiting = time.monotonic()
            if number not in self._lost:
                try:
                    while sent < min(len(wanted), received + _AHEAD):
                        self._write(encode({"page": wanted[sent], "running": self._running}))
                        sent += 1
                    content = PageContent(**self._receive(self._limits.page_seconds))
                    if content.outcome == "lost":
                        self._lose(number, numbers)
                except LostError:
                    self._lose(number, numbers)
                    self._open()
                    sent = received + 1
                received += 1
            spent += time.monotonic() - waiting
            yield content

    def close(self) -> None:
        """Kill the process, whatever it is doing; it holds nothing that could be lost."""
        child, self._child = self._child, None
        self._unread.clear()
        if child is not None:
            _end(child)

    def _open(self) -> Facts:
        self.close()
        try:
            self._child = _ahead() or _start()
        except OSError as error:
            raise DocumentError(
                f"{self._opening.name}: cannot be read, as no process can be started ({error.strerror}): "
                "raise the limit on processes (ulimit -u), or end others"
            ) from error
        try:
            self._write(encode(self._opening))
            if self._data is not None:
                self._write(self._data)
            fields = self._receive(self._limits.open_seconds)
        except LostError as error:
            self.close()
            raise DocumentError(f"{self._opening.name}: {self._lost_line(error.reason)}") from None
        except BaseException:
            self.close()
            raise
        if "error" in fields:
            self.close()
            raise DocumentError(fields["error"])
        return Facts(**fields)

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._write(encode(request))
        return self._receive(seconds)

    def _write(self, data: bytes) -> None:
        if self._child is None or self._child.stdin is None:
            raise LostError("crash")
        try:
            view = memoryview(data)
            while view:
                view = view[self._child.stdin.write(view) :]
        except BrokenPipeError:
            pass  # it has died; what it said before that is still in its other pipe

    def _receive(self, seconds: float) -> dict[str, Any]:
        line = self._line(seconds)
        fields = decode(line)
        if "lost" in fields:
            raise LostError(fields["lost"])
        return fields

    def _line(self, seconds: float) -> bytes:
        if self._child is None or self._child.stdout is None:
            raise LostError("crash")
        output = self._child.stdout.fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN)
        deadline = time.monotonic() + seconds
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise LostError("time")
            received = os.read(output, 1 << 16)
            if not received:
                raise LostError("crash")
            self._unread += received
            if len(self._unread) > _LONGEST_LINE_FACTOR * self._limits.page_characters + (1 << 24):
                raise LostError("memory")
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def _lost_line(self, reason: Reason) -> str:
        what = {
            "time": f"takes more than {self._limits.open_seconds:.3g} s to open",
            "memory": f"takes more than {self._limits.memory >> 20:,} MiB of memory to open",
            "crash": "makes its reader crash",
        }[reason]
        size = self._opening.data_size or os.path.getsize(self._opening.path or "")
        if self._opening.kind != "pdf" and size > _LARGE:
            return f"{what}: it has {format_size(size)}, and is read whole; cut it into parts of 100 MB at most"
        return f"{what}: it is damaged or made to do so; save or print it as another file"

    def _too_long(self, numbers: Sequence[int], unread: int, seconds: float) -> DocumentError:
        done = [number for number in numbers if number < unread]
        read = PageSelection.of(done).canonical
        return DocumentError(
            f"{self._opening.name}: reading its {counted(len(numbers), 'page')} takes more than {seconds:,.0f} s, in "
            f"which only page{'s' * (len(done) > 1)} {read} could be read: ask about these with --pages {read}, or "
            "save or print it as another file"
        )

    def _lose(self, page: int, numbers: Sequence[int]) -> None:
        """Note that `page`, one of `numbers`, is lost; `DocumentError` if too many are."""
        self._lost.append(page)
        lost = [number for number in numbers if number in self._lost]
        if len(lost) >= min(self._limits.lost_pages, len(numbers)):
            raise DocumentError(
                f"{self._opening.name}: page{'s' * (len(lost) > 1)} {', '.join(map(str, lost))} cannot be read within "
                f"{self._limits.page_seconds:g} s and {self._limits.memory >> 20:,} MiB of memory each: "
                "leave such pages out with --pages"
            )


# A process that is to read the next document, if one was started ahead.
_WAITING: list[subprocess.Popen[bytes]] = []


@contextmanager
def started_ahead(kind: Kind) -> Iterator[None]:
    """Start a process for the next document now, beside what this one does in the block; if nothing needs it, it ends.

    Args:
        kind: what the document probably is.
    """
    with suppress(OSError):  # which whoever reads the document will be told
        _WAITING.append(_start(kind))
    try:
        yield
    finally:
        while _WAITING:
            _end(_WAITING.pop())


def _ahead() -> subprocess.Popen[bytes] | None:
    """The process that waits, if there is one."""
    if not _WAITING:
        return None
    child = _WAITING.pop()
    if child.poll() is None:
        return child
    _end(child)
    return None


def _start(*kinds: Kind) -> subprocess.Popen[bytes]:
    # The same modules as here, wherever they came from; -P keeps the current folder out.
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "beacon_cli.documents.worker", *kinds],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,  # Ctrl-C in a terminal goes to the whole group
        env=os.environ | {"PYTHONPATH": path},
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # with the OCR that it may have started
    child.wait()
    for pipe in (child.stdout, child.stdin):
        if pipe is not None:
            pipe.close()

"""Extracting the pages of a PDF in worker processes, ahead of whoever reads them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import BinaryIO

from beacon_cli.documents.pdf_file import PdfFile
from beacon_cli.errors import DocumentError

# How many pages a worker may be ahead. A worker also stops when its unread texts fill the pipe.
_AHEAD = 8


class ExtractionWorkers:
    """`count` processes that hold the same PDF open; close them when done.

    Page i of the pages asked for goes to worker i mod `count`, so that answers are read in order, one pipe
    after the other, and a dead pipe tells which page killed its worker. `reopen` must be picklable.

    They are spawned, as forking a process that runs torch is not safe, and end when the parent ends, in any way.
    Raises `OSError` if the system does not allow more processes.
    """

    def __init__(self, reopen: Callable[[], BinaryIO], name: str, password: str | None, *, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._pipes: list[Connection] = []
        self._processes = []
        try:
            with _sigint_blocked():
                for _ in range(count):
                    ours, theirs = context.Pipe()
                    self._pipes.append(ours)
                    with theirs:
                        process = context.Process(target=_work, args=(theirs, reopen, name, password), daemon=True)
                        process.start()
                    self._processes.append(process)
        except OSError:
            self.close()
            raise

    def extract(self, numbers: Sequence[int]) -> Iterator[str | None]:
        """Yield what `PdfFile.extract` returns for each page; `DocumentError` if a worker dies."""
        count = len(self._pipes)
        sent = 0
        for position, number in enumerate(numbers):
            while sent < min(len(numbers), position + count * _AHEAD):
                with suppress(ConnectionError):  # a dead worker's last answers may still be in its pipe
                    self._pipes[sent % count].send(numbers[sent])
                sent += 1
            yield self._receive(position % count, number)

    def close(self) -> None:
        """Kill the workers, whatever they are doing; they hold nothing that could be lost."""
        for process in self._processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes.clear()
        self._pipes.clear()

    def _receive(self, worker: int, number: int) -> str | None:
        try:
            answer: str | DocumentError | None = self._pipes[worker].recv()
        except (EOFError, ConnectionError) as error:
            self._processes[worker].join()
            status = self._processes[worker].exitcode
            raise DocumentError(
                f"{self._name}: page {number} crashed the PDF reader (exit status {status}): leave it out with --pages"
            ) from error
        if isinstance(answer, DocumentError):
            raise answer
        return answer


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Ctrl-C goes to the whole process group; processes started in here never see it."""
    resource_tracker.ensure_running()  # spawning would start it, and it unblocks the signal
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _work(pipe: Connection, reopen: Callable[[], BinaryIO], name: str, password: str | None) -> None:
    """Answer page numbers with texts until the pipe closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        try:
            file = PdfFile(reopen(), name, password)
        except DocumentError as error:
            pipe.send(error)
            return
        while True:
            pipe.send(file.extract(pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)

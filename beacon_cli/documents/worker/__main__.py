"""The process that reads one document, and may die of it: `python -m beacon_cli.documents.worker [KIND]`.

It answers requests from standard input on standard output (see `protocol`) and ends when standard input does, that
is, also with whoever started it. What it imports before it knows the kind of the document is all that it needs.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from contextlib import suppress
from io import BytesIO
from queue import SimpleQueue
from typing import Any, BinaryIO

from beacon_cli.documents.content import PageContent, RunningHead
from beacon_cli.documents.raw import reopen
from beacon_cli.documents.worker.limits import Limits
from beacon_cli.documents.worker.protocol import Facts, Opening, decode, encode
from beacon_cli.documents.worker.readers import open_file, prepare
from beacon_cli.errors import DocumentError

try:
    import resource
except ImportError:  # no such limits on Windows; those on time hold there too
    resource = None  # type: ignore[assignment]  # Windows has no such module

# Processor time for one request, in times of the wall time that the parent allows it: should the parent be gone and
# this process stuck, it ends all the same.
_CPU_ALLOWANCE = 2.0
# A page that comes to nothing after this share of its time counts as one that took too long.
_DEAR = 0.2


def main() -> None:
    """Serve one document."""
    kinds: list[Any] = sys.argv[1:]
    for kind in kinds:
        prepare(kind)
    source = sys.stdin.buffer
    line = source.readline()
    if not line:  # started ahead, for nothing
        return
    fields = decode(line)
    opening = Opening(**fields | {"limits": Limits(**fields["limits"])})
    data = source.read(opening.data_size) if opening.path is None else None
    _limit_memory(opening.limits.memory)
    logging.disable()  # nobody hears the libraries
    warnings.simplefilter("ignore")
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(source, requests), daemon=True).start()
    try:
        _serve(opening, data, requests)
    except MemoryError:
        _answer(encode({"lost": "memory"}))


def _serve(opening: Opening, data: bytes | None, requests: SimpleQueue[bytes]) -> None:
    limits = opening.limits
    _limit_processor_time((limits.open_seconds + limits.page_seconds) * _CPU_ALLOWANCE)
    try:
        file = BytesIO(data) if data is not None else reopen(opening.path or "", tuple(opening.stamp))
        document = open_file(opening.kind, file, opening.name, opening.password, ocr=opening.ocr)
        facts = Facts(
            document.page_count, document.title, document.has_text([(first, last) for first, last in opening.ranges])
        )
    except DocumentError as error:
        _answer(encode({"error": str(error)}))
        return
    _answer(encode(facts))
    while True:
        request = decode(requests.get())
        _limit_processor_time(limits.page_seconds * _CPU_ALLOWANCE)
        if "page" in request:
            began = time.process_time()
            content = document.page(request["page"], [RunningHead(*head) for head in request["running"]])
            if content.outcome == "damaged" and time.process_time() - began > _DEAR * limits.page_seconds:
                content = PageContent("", "lost")
            if len(content.text) > limits.page_characters:
                content = PageContent(content.text[: limits.page_characters], content.outcome, cut=True)
            _answer(encode(content))
        elif "edges" in request:
            _answer(encode({"edges": document.edges(request["edges"])}))
        else:
            _answer(encode(document.extras()))


def _listen(source: BinaryIO, requests: SimpleQueue[bytes]) -> None:
    for line in source:
        requests.put(line)
    os._exit(0)


def _answer(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _limit_memory(size: int) -> None:
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the document
        _lower(resource.RLIMIT_AS, size)


def _limit_processor_time(seconds: float) -> None:
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)


def _lower(which: int, limit: int) -> None:
    """Set a soft limit, within the hard one."""
    _, hard = resource.getrlimit(which)
    with suppress(ValueError, OSError):  # macOS knows the one on memory but does not take it
        resource.setrlimit(which, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main()

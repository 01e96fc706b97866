"""Reads and decodes as it is told on stdin, for `decoding.py`: `python decoding_worker.py ours|llama THREADS GGUF`.

Every line is a list of token ids; the answer is a line of JSON.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

DECODED = 24
Ids = list[int]
# Reads tokens after what was read before, or, if told so, anew.
Read = Callable[[Ids, bool], Any]


def ours(threads: int) -> Read:
    """The default model, as it ships."""
    import beacon_cli as beacon  # noqa: PLC0415  # not in llama.cpp's process
    from beacon_cli.checkpoints.threads import wait_briefly  # noqa: PLC0415  # not in llama.cpp's process

    wait_briefly()
    model = beacon.load(threads=threads)
    reader = model.engine.reader(2)

    def read(ids: Ids, anew: bool) -> Any:
        nonlocal reader
        if anew:
            reader = model.engine.reader(2)
        return reader.read(ids)

    return read


def llama(threads: int, file: str) -> Read:
    """The file that the default model is made of."""
    from llama_cpp import Llama  # type: ignore[import-not-found]  # noqa: PLC0415  # not in this tool's process

    model = Llama(file, n_ctx=8192, n_threads=threads, n_threads_batch=threads, n_batch=1024, verbose=False)

    def read(ids: Ids, anew: bool) -> Any:
        if anew:
            model.reset()
        return model.eval(ids)

    return read


def work(read: Read, lines: Iterable[str], clock: Callable[[], float]) -> None:
    """Of each line, a list of ids: the seconds that reading them takes, and one token after them."""
    for line in lines:
        ids = json.loads(line)
        began = clock()
        read(ids, True)
        taken, each = clock() - began, []
        for token in ids[:DECODED]:
            began = clock()
            read([token], False)
            each.append(clock() - began)
        print(json.dumps([taken, statistics.median(each)]), flush=True)


if __name__ == "__main__":
    way, threads, file = sys.argv[1:]
    # With one thread, other work beside it does not count; with several, it is wall time that matters.
    clock = time.process_time if threads == "1" else time.perf_counter
    work(llama(int(threads), file) if way == "llama" else ours(int(threads)), sys.stdin, clock)

"""Reads and decodes as it is told on stdin, for `decoding.py`: `python decoding_worker.py ours|llama THREADS GGUF`.

Every line is an object: token ids of a `prompt`, those that are `said` after it, and `texts` that these may be taken
from. The answer is a line of JSON: the seconds that reading the prompt takes, and each token after it.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Ids = list[int]
# Reads a prompt, anew, with texts that its answer may be taken from; returns what reads one more token.
Read = Callable[[Ids, list[str]], Callable[[int], Any]]


def ours(threads: int) -> Read:
    """The default model, as it ships."""
    import beacon_cli as beacon  # noqa: PLC0415  # not in llama.cpp's process
    from beacon_cli.answering.prompt_lookup import PromptLookup  # noqa: PLC0415  # not in llama.cpp's process
    from beacon_cli.checkpoints.threads import wait_briefly  # noqa: PLC0415  # not in llama.cpp's process

    wait_briefly()
    engine = beacon.load(threads=threads).engine

    def read(prompt: Ids, texts: list[str]) -> Callable[[int], Any]:
        reader, said = engine.reader(2), list[int]()
        asked = PromptLookup(engine, reader, reader.read(prompt), texts)

        def more(token: int) -> Any:
            said.append(token)
            return asked.following(tuple(said))

        return more

    return read


def llama(threads: int, file: str) -> Read:
    """The file that the default model is made of."""
    from llama_cpp import Llama  # type: ignore[import-not-found]  # noqa: PLC0415  # not in this tool's process

    model = Llama(file, n_ctx=8192, n_threads=threads, n_threads_batch=threads, n_batch=1024, verbose=False)

    def read(prompt: Ids, texts: list[str]) -> Callable[[int], Any]:
        model.reset()
        model.eval(prompt)
        return lambda token: model.eval([token])

    return read


def work(read: Read, lines: Iterable[str], clock: Callable[[], float]) -> None:
    """Of each line, the seconds that its prompt takes, and each token after it."""
    for line in lines:
        given = json.loads(line)
        began = clock()
        more = read(given["prompt"], given["texts"])
        taken, each = clock() - began, []
        for token in given["said"]:
            began = clock()
            more(token)
            each.append(clock() - began)
        print(json.dumps([taken, each]), flush=True)


if __name__ == "__main__":
    way, threads, file = sys.argv[1:]
    # With one thread, other work beside it does not count; with several, it is wall time that matters.
    clock = time.process_time if threads == "1" else time.perf_counter
    work(llama(int(threads), file) if way == "llama" else ours(int(threads)), sys.stdin, clock)

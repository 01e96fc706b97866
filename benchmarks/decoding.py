"""Reading a prompt and decoding after it, against llama.cpp with the same GGUF file.

    python -m benchmarks.decoding PYTHON [--tokens 512 2048] [--rounds 5] [--threads 1]

PYTHON runs in an environment with llama-cpp-python, built for this machine. A process each, which take turns; processor
time of all their threads, so that other work beside them counts for less: with one thread, what a quiet machine takes.
This tool reads with its default condensing, at ratio 2, below which it begins. Medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

DECODED = 24
WAYS = {"ours": "this tool", "llama": "llama.cpp"}
Ids = list[int]
# Reads tokens after what was read before, or, if told so, anew.
Read = Callable[[Ids, bool], Any]


def ours(threads: int) -> tuple[Read, Callable[[str], Ids]]:
    """The default model, as it ships."""
    import beacon_cli as beacon  # noqa: PLC0415  not in llama.cpp's process

    model = beacon.load(threads=threads)
    reader = model.engine.reader(2)

    def read(ids: Ids, anew: bool) -> Any:
        nonlocal reader
        if anew:
            reader = model.engine.reader(2)
        return reader.read(ids)

    return read, model.source.tokenizer.encode


def llama(threads: int, file: str) -> Read:
    """The file that the default model is made of."""
    from llama_cpp import Llama  # type: ignore[import-not-found]  # noqa: PLC0415

    model = Llama(file, n_ctx=8192, n_threads=threads, n_threads_batch=threads, n_batch=1024, verbose=False)

    def read(ids: Ids, anew: bool) -> Any:
        if anew:
            model.reset()
        return model.eval(ids)

    return read


def work(read: Read, lines: Iterable[str]) -> None:
    """Of each line, a list of ids: the seconds that reading them takes, and one token after them."""
    for line in lines:
        ids = json.loads(line)
        began = time.process_time()
        read(ids, True)
        taken, each = time.process_time() - began, []
        for token in ids[:DECODED]:
            began = time.process_time()
            read([token], False)
            each.append(time.process_time() - began)
        print(json.dumps([taken, statistics.median(each)]), flush=True)


def text_ids(threads: int, tokens: int) -> Ids:
    """The beginning of the example's novel."""
    path = Path(__file__).parents[1] / "examples" / "the-time-machine.txt"
    return ours(threads)[1](path.read_text(encoding="utf-8"))[:tokens]


def start(way: str, options: argparse.Namespace) -> "subprocess.Popen[str]":
    from beacon_cli.checkpoints.default_model import base_file  # noqa: PLC0415  not in llama.cpp's process

    python = str(options.python) if way == "llama" else sys.executable
    command = [python, str(Path(__file__).resolve()), "--work", way, str(options.threads), str(base_file())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: "subprocess.Popen[str]", line: str) -> list[float]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(line)
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise SystemExit("a worker has ended; above is why")
    found: list[float] = json.loads(answer)
    return found


def main() -> None:
    """Print the table."""
    from benchmarks.processor import processor  # noqa: PLC0415  as above

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ids = text_ids(options.threads, max(options.tokens))
    workers = {way: start(way, options) for way in WAYS}
    print(f"{processor()}; --threads {options.threads}\n")
    print("| tokens | | reading, tokens/s | decoding, ms a token |\n|---|---|---|---|")
    for tokens in options.tokens:
        line = json.dumps(ids[:tokens]) + "\n"
        rounds = [[ask(worker, line) for worker in workers.values()] for _ in range(options.rounds)]
        for number, name in enumerate(WAYS.values()):
            reading, decoding = (statistics.median(each[number][what] for each in rounds) for what in (0, 1))
            print(f"| {tokens:,} | {name} | {tokens / reading:,.0f} | {1000 * decoding:.1f} |", flush=True)
    for worker in workers.values():
        worker.communicate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        way, threads, file = sys.argv[2:]
        work(llama(int(threads), file) if way == "llama" else ours(int(threads))[0], sys.stdin)
    else:
        main()

"""Reading a prompt and decoding after it, against llama.cpp with the same GGUF file.

    python -m benchmarks.decoding PYTHON [--tokens 512 2048] [--rounds 5] [--threads 1]

PYTHON runs in an environment with llama-cpp-python, built for this machine. A process each, which take turns; with one
thread, processor time, so that other work beside them counts for less; with several, wall time, which wants a quiet
machine. This tool reads with its default condensing, at ratio 2, below which it begins. Medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import beacon_cli as beacon
from beacon_cli.checkpoints.default_model import base_file
from benchmarks.processor import ask, processor

WAYS = {"ours": "this tool", "llama": "llama.cpp"}
WORKER = Path(__file__).with_name("decoding_worker.py")
NOVEL = Path(__file__).parents[1] / "examples" / "the-time-machine.txt"


def start(way: str, options: argparse.Namespace) -> "subprocess.Popen[str]":
    """A worker."""
    python = str(options.python) if way == "llama" else sys.executable
    command = [python, str(WORKER), way, str(options.threads), str(base_file())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ids = beacon.load().source.tokenizer.encode(NOVEL.read_text(encoding="utf-8"))
    workers = {way: start(way, options) for way in WAYS}
    print(f"{processor()}; --threads {options.threads}\n")
    print("| tokens | | reading, tokens/s | decoding, ms a token |\n|---|---|---|---|")
    for tokens in options.tokens:
        line = json.dumps(ids[:tokens]) + "\n"
        rounds = [[json.loads(ask(worker, line)) for worker in workers.values()] for _ in range(options.rounds)]
        for number, name in enumerate(WAYS.values()):
            reading, decoding = (statistics.median(each[number][what] for each in rounds) for what in (0, 1))
            print(f"| {tokens:,} | {name} | {tokens / reading:,.0f} | {1000 * decoding:.1f} |", flush=True)
    for worker in workers.values():
        worker.communicate()


if __name__ == "__main__":
    main()

"""What condenses a text, beside each other: processor time and peak memory of a process each, in turn, on one model.

    python -m benchmarks.condensers BOOK.txt [--tokens 4096] [--ratio 8] [--rounds 2]

Only reading is measured: the weights are loaded before, and the peak is what a process holds beyond what it held then.
Linux only (`/proc`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch

import beacon_cli as beacon
from beacon_cli.evaluation.plan import CONDENSERS
from beacon_cli.evaluation.report import markdown
from beacon_cli.settings import DEFAULTS, Condense
from benchmarks.processor import alternately, processor


def held(what: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most since it was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def measure(condense: Condense, options: argparse.Namespace) -> dict[str, float]:
    """Read the text in this process."""
    torch.set_num_threads(1)
    model = beacon.load(options.model, condense=condense, threads=1)
    tokenizer = model.source.tokenizer
    text = tokenizer.decode(tokenizer.encode(options.book.read_text(encoding="utf-8"))[: options.tokens])
    _ = model.engine  # loads the weights
    Path("/proc/self/clear_refs").write_text("5")
    before, began = held("VmRSS"), time.process_time()
    memory = model.read_text(text, ratio=options.ratio, cache=False)
    seconds = time.process_time() - began
    return {"tokens": memory.tokens, "seconds": seconds, "peak": held("VmHWM") - before, "rows": memory.rows}


def measured(condense: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.condensers", *sys.argv[1:], "--only", condense]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Processor time and peak memory of what condenses.")
    parser.add_argument("book", type=Path)
    parser.add_argument("--model", default=DEFAULTS.model)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--ratio", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=CONDENSERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    found = alternately([partial(measured, way) for way in CONDENSERS], options.rounds)
    rows = []
    for way, rounds in zip(CONDENSERS, found, strict=True):
        seconds, peak = (statistics.median(each[name] for each in rounds) for name in ("seconds", "peak"))
        rate = f"{rounds[0]['tokens'] / seconds:.0f}"
        rows.append([way, f"{seconds:.1f} s", rate, f"{peak / 2**20:.0f} MiB", f"{rounds[0]['rows']:.0f}"])
    print(f"{processor()}\n")
    print(markdown(["what condenses", "processor time", "tokens/s", "peak", "rows"], rows))


if __name__ == "__main__":
    main()

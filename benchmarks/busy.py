"""Threads that wait for each other, on an idle machine and on a busy one: as many busy loops beside as processors.

    python -m benchmarks.busy [--rounds 3]

Condensing 2,048 tokens of the novel and decoding 40 after them, with all threads: as the tool's threads wait
(`checkpoints/threads.py`), asleep at once, and as OpenMP has it if it is left alone. Wall seconds of both and processor
seconds, without loading; medians of rounds that take turns, in a process each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from beacon_cli.checkpoints.threads import SPINS
from benchmarks.processor import alternately, processor

LOOP = "while True: pass"
WORK = """
import json, time
import beacon_cli as beacon
model = beacon.load()
ids = model.source.tokenizer.encode(open("examples/the-time-machine.txt", encoding="utf-8").read())
reader = model.engine.reader(8)
began, used = time.perf_counter(), time.process_time()
reader.read(ids[:2048])
condensed = time.perf_counter()
for token in ids[2048:2088]:
    reader.read([token])
print(json.dumps([condensed - began, time.perf_counter() - condensed, time.process_time() - used]))
"""
WAYS: Mapping[str, Mapping[str, str]] = {
    "as shipped": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "left alone": {},
}


def run(way: Mapping[str, str]) -> list[float]:
    """Seconds: wall, of condensing and of decoding; processor."""
    others = {name: value for name, value in os.environ.items() if name not in WAYS["as shipped"]}
    done = subprocess.run([sys.executable, "-c", WORK], env={**others, **way}, stdout=subprocess.PIPE, check=True)
    taken: list[float] = json.loads(done.stdout)
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{processor()}\n")
    print("| busy loops beside | threads wait | condensing | decoding | processor |\n|---|---|---|---|---|")
    for count in (0, os.cpu_count() or 1):
        loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
        try:
            found = alternately([partial(run, way) for way in WAYS.values()], options.rounds)
        finally:
            for loop in loops:
                loop.kill()
        for name, taken in zip(WAYS, found, strict=True):
            seconds = [f"{statistics.median(each):.1f} s" for each in zip(*taken, strict=True)]
            print(f"| {count} | {name} | {' | '.join(seconds)} |")


if __name__ == "__main__":
    main()

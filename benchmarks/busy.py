"""Threads on a busy machine: as many busy loops beside the tool as there are processors.

    python -m benchmarks.busy [--rounds 3]

Condensing 2,048 tokens of the novel and one token after them, with all threads: as the tool waits for its threads
(passively, `beacon_cli/app.py`) and as OpenMP does if nobody asks for less (actively). Wall and processor seconds,
without loading; medians of rounds that take turns, in a process each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from benchmarks.processor import alternately, processor

LOOP = "while True: pass"
WORK = """
import json, sys, time
import beacon_cli as beacon
model = beacon.load()
ids = model.source.tokenizer.encode(open("examples/the-time-machine.txt", encoding="utf-8").read())
reader = model.engine.reader(8)
wall, used = time.perf_counter(), time.process_time()
reader.read(ids[:2048])
reader.read(ids[2048:2049])
print(json.dumps([time.perf_counter() - wall, time.process_time() - used]))
"""


def run(policy: str) -> list[float]:
    """Wall and processor seconds of the work, its threads waiting by this policy."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    done = subprocess.run([sys.executable, "-c", WORK], env=environment, stdout=subprocess.PIPE, check=True)
    taken: list[float] = json.loads(done.stdout)
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(os.cpu_count() or 1)]
    try:
        passive, active = alternately([lambda: run("PASSIVE"), lambda: run("ACTIVE")], options.rounds)
    finally:
        for loop in loops:
            loop.kill()
    print(f"{processor()}; busy loops beside: {len(loops)}\n")
    print("| threads wait | wall | processor |\n|---|---|---|")
    for name, taken in (("passively, as shipped", passive), ("actively", active)):
        wall, used = (statistics.median(each[index] for each in taken) for index in (0, 1))
        print(f"| {name} | {wall:.1f} s | {used:.1f} s |")


if __name__ == "__main__":
    main()

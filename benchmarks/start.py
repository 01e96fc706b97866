"""From a cold process to the first token of a second question, against importing torch and reading the weights.

    python -m benchmarks.start [DOC]

The document is condensed first. Then processes alternate: one that imports torch and reads the model's weights from
disk, one that asks. Prints wall seconds of both up to there and processor seconds to the end of the process (medians),
and the median ratio of each.
"""

import os
import resource
import statistics
import subprocess
import sys
import time

from beacon_cli.checkpoints.default_model import find_default
from benchmarks.processor import alternately, processor, ratio

TIMES = 3
LEAST = "import sys, torch; open(sys.argv[1], 'rb').read()"
# As `beacon ask` does it.
ASK = """
import gc, sys
from beacon_cli.checkpoints.threads import wait_briefly
wait_briefly()
gc.set_threshold(100_000)
from beacon_cli.documents.opening import opening_ahead
with opening_ahead(sys.argv[1:2]):
    import beacon_cli as beacon
    next(iter(beacon.load().read(sys.argv[1], when_needed=True).ask(sys.argv[2])))
"""
CONDENSE = "import beacon_cli as beacon, sys; beacon.load().condense(sys.argv[1])"
QUESTION = "What is the capital of Iceland?"
DONE = "done"


def run(code: str, *arguments: str) -> tuple[float, float]:
    """Wall seconds until a Python process has done this, and processor seconds until its end."""
    # An installed tool has its byte code; a checkout has it if Python may write it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", f"{code}\nprint({DONE!r}, flush=True)", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None, "it is a pipe"
        if process.stdout.readline().strip() != DONE:
            raise SystemExit("the process failed")
        wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    document = sys.argv[1] if len(sys.argv) > 1 else "examples/world-factbook.pdf"
    run(CONDENSE, document)
    folder = find_default()
    assert folder is not None, "condensing has converted it"
    weights = str(folder / "model.safetensors")
    least, asking = alternately([lambda: run(LEAST, weights), lambda: run(ASK, document, QUESTION)], TIMES)
    print(processor())
    print("| | torch and weights | first token | ratio |\n|---|---|---|---|")
    for index, name in enumerate(("wall", "processor")):
        one, other = ([pair[index] for pair in pairs] for pairs in (least, asking))
        print(
            f"| {name} | {statistics.median(one):.2f} s | {statistics.median(other):.2f} s | {ratio(other, one):.2f} |"
        )


if __name__ == "__main__":
    main()

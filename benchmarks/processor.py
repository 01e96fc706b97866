"""What benchmarks share: the CPU's name, and a fair way to compare: alternately, by the median of ratios."""

import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")


def processor() -> str:
    """The CPU and the threads that torch uses."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def alternately(ways: Sequence[Callable[[], Result]], times: int) -> list[list[Result]]:
    """What each way measures, in rounds that each try all of them, so that a busy machine hits all alike."""
    rounds = [[way() for way in ways] for _ in range(times)]
    return [list(column) for column in zip(*rounds, strict=True)]


def ask(worker: "subprocess.Popen[str]", line: str) -> str:
    """The line with which a worker, that writes one for each that it reads, answers."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(line)
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise SystemExit("a worker has ended; above is why")
    return answer


def ratio(measured: Sequence[float], against: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(measured, against, strict=True))

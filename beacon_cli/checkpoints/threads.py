"""Threads: how many processors this process may use, and how its threads wait for each other."""

import math
import os
from pathlib import Path

# Turns of a waiting loop, 25 microseconds on an AMD EPYC: more bring little, and cost on a busy machine (benchmarks/).
SPINS = 1000


def wait_briefly() -> None:
    """Let OpenMP's threads spin for a moment when they wait for each other, then sleep; what the user set stays.

    Only before torch is imported. To sleep at once takes longer than many a product does; left alone, GNU's OpenMP
    spins so long that on a busy machine threads take the processors from those that they wait for.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def usable_cores(root: Path = Path("/")) -> int:
    """Processors by affinity and by the control groups' quotas (versions 1 and 2), at least one.

    A container's share can be less than the machine has, or torch sees.

    Args:
        root: of the file system that says so.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Of this process's groups and all above them, in processors."""
    found = list[float]()
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        inner = base / group.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(base):
                break
            limits = _words(folder / "cpu.max") or [
                *_words(folder / "cpu.cfs_quota_us"),
                *_words(folder / "cpu.cfs_period_us"),
            ]
            if len(limits) == 2 and all(limit.isdigit() and int(limit) for limit in limits):  # neither "max" nor -1
                found.append(int(limits[0]) / int(limits[1]))
    return found


def _words(path: Path, between: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").strip().split(between)
    except OSError:
        return []

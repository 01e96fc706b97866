"""How many processors this process may use: a container's share can be less than the machine has, or torch sees."""

import math
import os
from pathlib import Path

import psutil


def usable_cores(root: Path = Path("/")) -> int:
    """Processors by affinity and by the control groups' quotas (versions 1 and 2), at least one.

    Args:
        root: of the file system that says so.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
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

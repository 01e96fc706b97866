"""Threads: no more than there are processors to use."""

import os
from pathlib import Path

import pytest

from beacon_cli.checkpoints.threads import SPINS, usable_cores, wait_briefly

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 64


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "90000 100000"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000"}, min(2, HERE)),
        ("0::/\n", {"cpu.max": "max 100000"}, HERE),
        ("4:cpu,cpuacct:/a\n3:cpuset:/\n", {"cpu/a/cpu.cfs_quota_us": "1000", "cpu/a/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, HERE),
        ("", {}, HERE),
    ],
)
def test_cores_by_quota(groups: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    for name, content in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{n}": c for n, c in files.items()}}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert usable_cores(tmp_path) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_cores_by_affinity(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("own", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "0"}])
def test_threads_wait_as_the_user_says_or_briefly(own: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setattr(os, "environ", environment := dict(own))
        wait_briefly()
    assert environment == (own or {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)})

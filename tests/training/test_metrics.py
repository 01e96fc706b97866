"""What is measured while training: kept up to a step, and drawn."""

import json
import sys
from pathlib import Path

import pytest

from beacon_cli.training.metrics import Metrics


def test_what_a_killed_run_recorded_too_much_is_dropped(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.go_on_from(0)
    for step in range(1, 6):
        metrics.add({"step": step, "loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    again = Metrics(tmp_path)
    again.go_on_from(3)
    again.add({"step": 4, "loss": 0.0})
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert again.records[-1] == {"step": 4, "loss": 0.0}
    again.add({"step": 4, "validation": {"2": 1.0}})
    assert (again.validated(3), again.validated(4)) == (False, True)
    again.go_on_from(0)  # what a run recorded that never came to a checkpoint
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_the_curve_is_drawn_where_that_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(tmp_path)
    metrics.go_on_from(0)
    assert metrics.plot()  # nothing to see yet
    metrics.add({"step": 0, "validation": {"2": 3.0, "full": 1.0}})
    for step in range(1, 4):
        metrics.add({"step": step, "loss": 1.0 / step, "ar": 0.5, "distill": 0.1})
    assert metrics.plot()
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not metrics.plot()

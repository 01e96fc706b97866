"""What is measured while training: a line of JSON for every step, and a picture of the loss."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from beacon_cli.errors import TrainingError

METRICS_FILE = "metrics.jsonl"
PLOT_FILE = "loss.png"


class Metrics:
    """`metrics.jsonl` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / METRICS_FILE
        self.records: list[dict[str, Any]] = []

    def go_on_from(self, step: int, *, write: bool = True) -> None:
        """Keep what was recorded up to and with `step`, and nothing that came after; at step 0, nothing."""
        self.records = [record for record in _read(self._path) if record["step"] <= step] if step else []
        if write:
            rewrite(self._path, "".join(map(_line, self.records)))

    def add(self, record: dict[str, Any]) -> None:
        """Record one more; `step` must be in it."""
        self.records.append(record)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def validated(self, step: int) -> bool:
        """Whether a validation after `step` is recorded."""
        return any("validation" in record for record in self.records if record["step"] == step)

    def plot(self) -> bool:
        """Draw the curves into `loss.png`; False where matplotlib is not installed."""
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)
        except ImportError:
            return False
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot(xlabel="step", ylabel="loss")
        steps = [record for record in self.records if "loss" in record]
        for name in ("loss", "ar", "distill", "hidden"):
            points = [(record["step"], record[name]) for record in steps if name in record]
            if points and (name == "loss" or len(steps[0].keys() & {"ar", "distill", "hidden"}) > 1):
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.5 if name == "loss" else 0.8)
        checked = [record for record in self.records if "validation" in record]
        for name in checked[-1]["validation"] if checked else ():
            points = [(record["step"], record["validation"][name]) for record in checked]
            label = "validation, uncondensed" if name == "full" else f"validation, ratio {name}"
            axes.plot(*zip(*points, strict=True), label=label, linestyle=":" if name == "full" else "--", marker=".")
        if axes.lines:
            axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        try:
            figure.savefig(self._folder / PLOT_FILE, dpi=120)
        except OSError as error:
            raise cannot_write(self._folder / PLOT_FILE, error) from error
        return True


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _read(path: Path) -> Iterable[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            yield record


def rewrite(path: Path, text: str) -> None:
    """Put `text` in the place of a file, or of none.

    Raises:
        TrainingError: if the disk does not take it.
    """
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: Exception) -> TrainingError:
    """What to say of it."""
    reason = (isinstance(error, OSError) and error.strerror) or error
    return TrainingError(f"cannot write {path} ({reason}): make room or check permissions, then run the command again")

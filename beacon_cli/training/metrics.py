"""What is measured while training: a line of JSON for every step, and a picture of the loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from beacon_cli.durable.lines import add_line, read_lines, rewrite_lines
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
        with writing(self._path):
            read = [record for record in read_lines(self._path) if isinstance(record, dict)] if step else []
            self.records = [record for record in read if record["step"] <= step]
            if write:
                rewrite_lines(self._path, self.records)

    def add(self, record: dict[str, Any]) -> None:
        """Record one more; `step` must be in it."""
        self.records.append(record)
        with writing(self._path):
            add_line(self._path, record)

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
        with writing(self._folder / PLOT_FILE):
            figure.savefig(self._folder / PLOT_FILE, dpi=120)
        return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong with the disk meanwhile is said of `path`.

    Raises:
        TrainingError: if anything does.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"cannot write {path} ({reason}): make room or check permissions, then run the command again"
        ) from error

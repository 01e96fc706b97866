"""Pictures of results, with matplotlib, which need not be there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beacon_cli.evaluation.report import Row, rows_of

# Maps stand side by side, so many in a row.
ACROSS = 4
MARKERS = "os^Dvphx"


def draw(folder: Path, found: dict[str, Any]) -> list[Path]:
    """PNG files in `folder` of what `report.results` made: curves over lengths, and a map if there are depths.

    Returns:
        Their paths; none where there is nothing to draw.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if they cannot be written.
    """
    # Imported here because it is optional, and slow to import. A figure without pyplot touches no global state.
    from matplotlib.figure import Figure  # noqa: PLC0415  optional, and takes a second

    rows, cells = rows_of(found), rows_of(found, "cells")
    if found["axis"] != "length" or all(row.value is None for row in rows):
        return []
    figure = Figure(figsize=(7, 4), layout="constrained")
    _curves(figure.add_subplot(), rows, found["task"])
    paths = [_saved(figure, folder / f"{found['task']}.png")]
    if cells:
        methods = list(dict.fromkeys(row.method for row in cells))
        down, across = -(-len(methods) // ACROSS), min(len(methods), ACROSS)
        figure = Figure(figsize=(3 * across + 1, 2.6 * down + 0.3), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
        for axis, method in zip(axes, methods, strict=False):
            image = _map(axis, [row for row in cells if row.method == method], method)
        for axis in axes[len(methods) :]:
            axis.set_axis_off()
        figure.supxlabel("length of the text in tokens", fontsize="medium")
        figure.supylabel("depth of the needle", fontsize="medium")
        bar = figure.colorbar(image, ax=axes, label="needles found", format="{x:.0f} %")
        bar.ax.tick_params(labelsize="small")
        paths.append(_saved(figure, folder / f"{found['task']}-map.png"))
    return paths


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=90, pil_kwargs={"optimize": True})
    return path


def _curves(axis: Any, rows: Sequence[Row], task: str) -> None:
    perplexity = any(row.metric == "perplexity" for row in rows)
    unit = 1 if perplexity else 100
    for number, method in enumerate(dict.fromkeys(row.method for row in rows)):
        mine = [row for row in rows if row.method == method and row.value is not None]
        if mine:
            lengths = [row.group["length"] for row in mine]
            values, low, high = ([unit * (value or 0.0) for value in column] for column in _columns(mine))
            # Where lines lie on one another, the lower ones show at the edges.
            style = {"marker": MARKERS[number % len(MARKERS)], "linewidth": max(3.5 - 0.5 * number, 1), "alpha": 0.85}
            (line,) = axis.plot(lengths, values, label=method, **style)
            axis.fill_between(lengths, low, high, color=line.get_color(), alpha=0.07)
    axis.set_xscale("log", base=2)
    lengths = sorted({row.group["length"] for row in rows})
    axis.set_xticks(lengths, [_short(length) for length in lengths])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    if perplexity:
        axis.set_title("Perplexity against position")
        axis.set_xlabel("position up to which tokens count, from the one before on")
        axis.set_ylabel("perplexity")
    else:
        axis.set_title(f"{task}: right answers against length")
        axis.set_xlabel("length of the text in tokens")
        axis.set_ylabel("right answers, per cent")
        axis.set_ylim(-4, 104)
    axis.figure.legend(loc="outside right upper", fontsize="small")


def _columns(rows: Sequence[Row]) -> list[list[float | None]]:
    return [[row.value for row in rows], [row.low for row in rows], [row.high for row in rows]]


def _map(axis: Any, cells: Sequence[Row], method: str) -> Any:
    lengths = sorted({row.group["length"] for row in cells})
    depths = sorted({row.group["depth"] for row in cells})
    shares = {(row.group["depth"], row.group["length"]): row.value for row in cells}
    grid = [[_per_cent(shares.get((depth, length))) for length in lengths] for depth in depths]
    axis.set_facecolor("0.85")  # shows where a cell is empty
    image = axis.imshow(grid, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    for line, values in enumerate(grid):
        for column, value in enumerate(values):
            empty = value != value
            colour = "0.4" if empty else "black" if value > 60 else "white"
            text = "too long" if empty else f"{value:.0f}"
            axis.text(column, line, text, ha="center", va="center", color=colour, fontsize=6 if empty else 8)
    axis.set_xticks(range(len(lengths)), [_short(length) for length in lengths], fontsize="small")
    axis.set_yticks(range(len(depths)), [f"{100 * depth:.0f} %" for depth in depths], fontsize="small")
    axis.set_title(method, fontsize="medium")
    return image


def _per_cent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share


def _short(length: int) -> str:
    return f"{length // 1024}k" if length % 1024 == 0 else f"{length:,}"

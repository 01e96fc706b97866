"""Pictures of results, with matplotlib, which need not be there."""

from pathlib import Path
from typing import Any

from beacon_cli.evaluation.report import Row, rows_of


def draw(folder: Path, found: dict[str, Any]) -> list[Path]:
    """PNG files in `folder` of what `report.results` made; their paths.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    # Imported here because it is optional, and slow to import. A figure without pyplot touches no global state.
    from matplotlib.figure import Figure  # noqa: PLC0415  optional, and takes a second

    if found["axis"] != "length":
        return []
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    _curves(figure.add_subplot(), rows_of(found), found["task"])
    paths = [folder / f"{found['task']}.png"]
    figure.savefig(paths[0], dpi=120)
    cells = rows_of(found, "cells")
    if cells:
        methods = list(dict.fromkeys(row.method for row in cells))
        figure = Figure(figsize=(3.2 * len(methods) + 1, 3.4), layout="constrained")
        axes = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
        for axis, method in zip(axes, methods, strict=True):
            image = _heat_map(axis, [row for row in cells if row.method == method], method)
        axes[0].set_ylabel("depth of the needle")
        figure.colorbar(image, ax=axes, label="share of needles found")
        paths.append(folder / f"{found['task']}-map.png")
        figure.savefig(paths[1], dpi=120)
    return paths


def _curves(axis: Any, rows: list[Row], task: str) -> None:
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method and row.value is not None]
        if mine:
            lengths, values = [row.group["length"] for row in mine], [row.value for row in mine]
            (line,) = axis.plot(lengths, values, marker="o", label=method)
            axis.fill_between(
                lengths, [r.low for r in mine], [r.high for r in mine], color=line.get_color(), alpha=0.07
            )
    axis.set_xscale("log", base=2)
    lengths = sorted({row.group["length"] for row in rows})
    axis.set_xticks(lengths, [_short(length) for length in lengths])
    axis.minorticks_off()
    axis.set_xlabel("tokens")
    if rows and rows[0].metric == "perplexity":
        axis.set_ylabel("perplexity of the tokens up to here")
    else:
        axis.set_ylabel("share of right answers")
        axis.set_ylim(-0.03, 1.03)
    axis.set_title(task)
    axis.figure.legend(loc="outside right upper", fontsize="small")


def _heat_map(axis: Any, cells: list[Row], method: str) -> Any:
    lengths = sorted({row.group["length"] for row in cells})
    depths = sorted({row.group["depth"] for row in cells})
    values = {(row.group["depth"], row.group["length"]): row.value for row in cells}
    grid = [[_number(values.get((depth, length))) for length in lengths] for depth in depths]
    axis.set_facecolor("0.85")  # shows where a cell is empty: the method cannot read so much
    image = axis.imshow(grid, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
    axis.set_xticks(range(len(lengths)), [_short(length) for length in lengths])
    axis.set_yticks(range(len(depths)), [f"{100 * depth:.0f} %" for depth in depths])
    axis.set_title(method)
    axis.set_xlabel("tokens")
    return image


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _short(length: int) -> str:
    return f"{length // 1024}k" if length % 1024 == 0 else f"{length:,}"

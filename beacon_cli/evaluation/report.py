"""From records to figures: averages with their uncertainty, tables, and the JSON that has everything."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beacon_cli.durable.lines import replace_text
from beacon_cli.evaluation.metrics import bootstrap, perplexity, wilson
from beacon_cli.evaluation.records import Measurement, writing

FORMAT = 1
RESULTS, TABLE = "results.json", "table.md"


@dataclass(frozen=True)
class Row:
    """What one method reaches in one group.

    Attributes:
        metric: "found", "exact", "f1" (shares), or "perplexity".
        count: samples (of perplexity: tokens) that the value comes from.
        unread: samples too long for the method.
        value, low, high: the average and its 95 % confidence interval; None without samples.
    """

    method: str
    group: dict[str, Any]
    metric: str
    count: int
    unread: int
    value: float | None
    low: float | None
    high: float | None


def aggregate(records: Sequence[Measurement], by: Sequence[str], metrics: Sequence[str] = ()) -> list[Row]:
    """A row for every method, group (told apart by the names in `by`) and metric, in the order of the records.

    Args:
        metrics: names of scores; without any, those that the records have.
    """
    metrics = metrics or list(dict.fromkeys(name for record in records for name in record.scores))
    cells: dict[tuple[str, tuple[Any, ...]], list[Measurement]] = {}
    for record in records:
        cells.setdefault((record.method, tuple(record.group.get(name) for name in by)), []).append(record)
    return [
        _row(method, dict(zip(by, values, strict=True)), metric, found)
        for (method, values), found in cells.items()
        for metric in metrics
    ]


def _row(method: str, group: dict[str, Any], metric: str, records: Sequence[Measurement]) -> Row:
    scored = [record for record in records if record.problem is None]
    unread = len(records) - len(scored)
    name = "perplexity" if metric == "loss" else metric
    if not scored:
        return Row(method, group, name, 0, unread, None, None, None)
    values, weights = [record.scores[metric] for record in scored], [record.weight for record in scored]
    if metric == "loss":
        low, high = (perplexity([edge], [1.0]) for edge in bootstrap(values, weights))
        return Row(method, group, name, int(sum(weights)), unread, perplexity(values, weights), low, high)
    mean = sum(values) / len(values)
    low, high = wilson(sum(values), len(values)) if set(values) <= {0.0, 1.0} else bootstrap(values)
    return Row(method, group, name, len(values), unread, mean, low, high)


def caption(rows: Sequence[Row], axis: str) -> str:
    """What the figures of `table` are, in one line; empty if there are none."""
    metrics = {row.metric for row in rows}
    if not metrics:
        return ""
    if "perplexity" in metrics:
        what = "perplexity [95 % interval] of the tokens up to this position, from the column before on"
    else:
        share = "share of right answers" if "found" in metrics else "exact match and F1"
        what = f"{share} [95 % interval] by {'length of the text in tokens' if axis == 'length' else axis}"
    return what + ("; too long: does not fit the context" if any(row.value is None for row in rows) else "")


def table(rows: Sequence[Row], axis: str) -> tuple[list[str], list[list[str]]]:
    """Columns and cells: a line for each method, a column for each value of `axis`, and metric if there are several.

    How many samples there are stands in the first column's title if it is the same everywhere, or else in the cells.
    """
    metrics, values = dict.fromkeys(row.metric for row in rows), dict.fromkeys(row.group[axis] for row in rows)
    places = [(value, metric) for value in _in_order(values) for metric in metrics]
    counts = {(row.count, row.unread) for row in rows if row.value is not None}
    alike = len(counts) == 1 and all(not unread for _, unread in counts) and "perplexity" not in metrics
    cells = {(row.method, row.group[axis], row.metric): cell(row, count=not alike) for row in rows}
    titles = [f"{value:,}" if isinstance(value, int) else str(value) for value, _ in places]
    if len(metrics) > 1:
        titles = [f"{title}: {metric}" for title, (_, metric) in zip(titles, places, strict=True)]
    methods = dict.fromkeys(row.method for row in rows)
    first = f"method (n={counts.pop()[0]:,})" if alike else "method"
    return [first, *titles], [[method, *(cells.get((method, *at), "") for at in places)] for method in methods]


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Numbers ascending; names as they come."""
    return sorted(values, key=lambda value: value if isinstance(value, int | float) else 0)


def cell(row: Row, *, count: bool) -> str:
    """A row's value and interval; with the number of samples if they are to `count`."""
    if row.value is None or row.low is None or row.high is None:
        return "too long"
    if row.metric == "perplexity":
        return f"{_figure(row.value)} [{_figure(row.low)}–{_figure(row.high)}]"
    part = f" of {row.count + row.unread:,}" if row.unread else ""
    text = f"{100 * row.value:.0f} % [{100 * row.low:.0f}–{100 * row.high:.0f}]"
    return f"{text} n={row.count:,}{part}" if count else text


def _figure(value: float) -> str:
    """Three digits or more."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def results(
    header: dict[str, Any], axis: str, records: Sequence[Measurement], metrics: Sequence[str]
) -> dict[str, Any]:
    """All that is known, for machines; `metrics` are the names of the scores."""
    by = [axis, *(name for name in ("depth",) if any(name in record.group for record in records))]
    rows = aggregate(records, [axis], metrics)
    return {
        "format": FORMAT,
        **header,
        "axis": axis,
        "caption": caption(rows, axis),
        "rows": [asdict(row) for row in rows],
        "cells": [asdict(row) for row in aggregate(records, by, metrics)] if len(by) > 1 else [],
        "samples": [asdict(record) for record in records],
    }


def rows_of(found: dict[str, Any], part: str = "rows") -> list[Row]:
    """`rows` or `cells` of what `results` made."""
    return [Row(**row) for row in found[part]]


def write(folder: Path, found: dict[str, Any]) -> list[Path]:
    """`results.json` and `table.md` in `folder`; their paths.

    Raises:
        EvaluationError: if they cannot be written.
    """
    paths = [folder / RESULTS, folder / TABLE]
    title = f"# {found['task']}\n\n`{found['command']}`\n\n{found['caption']}\n\n"
    parts = [title + markdown(*table(rows_of(found), found["axis"]))]
    cells = rows_of(found, "cells")
    for method in dict.fromkeys(row.method for row in cells):
        mine = [row for row in cells if row.method == method]
        lines = {row.group["depth"]: f"{100 * row.group['depth']:.0f} % deep" for row in mine}
        named = [Row(**{**asdict(row), "method": lines[row.group["depth"]]}) for row in mine]
        parts.append(f"## {method}\n\n" + markdown(*table(named, found["axis"])))
    with writing(folder):
        replace_text(paths[0], json.dumps(found, ensure_ascii=False, indent=1) + "\n")
        replace_text(paths[1], "\n".join(parts))
    return paths

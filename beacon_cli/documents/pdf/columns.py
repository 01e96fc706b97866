"""Columns that were drawn row by row, read one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

# Baselines closer than this, in font sizes, are the same.
_SAME_BASELINE = 0.1
# Left edges closer than this, in points, are the same.
_SAME_EDGE = 3.0
# Two columns have so many rows in common, and so much text in either: a table has less in its cells.
_FEWEST_ROWS = 5
_LEAST_TEXT = 20
# The average width of a character, in font sizes.
_CHARACTER = 0.45


@dataclass
class Line:
    """What stands on one baseline; `strokes` are the left edge of each piece and where it begins in `text`."""

    text: str = ""
    left: float = 0.0
    baseline: float = 0.0
    size: float = 0.0
    strokes: list[tuple[float, int]] = field(default_factory=list)

    def is_continued_by(self, line: Line) -> bool:
        """Whether `line` stands on the same baseline, further right."""
        return self.left < line.left and abs(self.baseline - line.baseline) < _SAME_BASELINE * line.size

    def parted(self, left: float, offset: int) -> tuple[Line, Line]:
        """What stands before a stroke, and the rest."""
        return (
            replace(self, text=self.text[:offset].rstrip()),
            replace(self, text=self.text[offset:].lstrip(), left=left),
        )


def in_columns(lines: Iterable[Line]) -> list[Line]:
    """The same lines, with rows that run across two columns of prose taken apart; the left column comes first."""
    rows: list[list[Line]] = []
    for line in lines:
        if rows and rows[-1][-1].is_continued_by(line):
            rows[-1].append(line)
        else:
            rows.append([line])
    edge = _gutter(rows)
    ordered: list[Line] = []
    waiting: list[Line] = []  # what stands in the right column, beside what is in `ordered` already
    for row in rows:
        halves = edge is not None and _halves(row, edge)
        if halves:
            ordered += halves[0]
            waiting += halves[1]
        elif waiting and edge is not None and row[0].left > edge - _SAME_EDGE:
            waiting += row
        else:
            if edge is None or not _ends_before(row, edge):
                ordered += waiting
                waiting = []
            ordered += row
    return ordered + waiting


def _gutter(rows: Sequence[Sequence[Line]]) -> float | None:
    """Where the right column begins, if there are two."""
    edges = Counter(
        round(left / _SAME_EDGE)
        for row in rows
        for index, line in enumerate(row)
        for left, offset in line.strokes
        if index or offset
    )
    if not edges:
        return None
    (place, _), *_ = edges.most_common(1)
    edge = place * _SAME_EDGE
    halves = [halves for row in rows if (halves := _halves(row, edge))]
    if len(halves) < _FEWEST_ROWS:
        return None
    shortest = min(median(sum(len(line.text) for line in half) for half in side) for side in zip(*halves, strict=True))
    return edge if shortest >= _LEAST_TEXT else None


def _halves(row: Sequence[Line], edge: float) -> tuple[Sequence[Line], Sequence[Line]] | None:
    """What stands left and right of `edge`, if a stroke begins there."""
    for index, line in enumerate(row):
        for left, offset in line.strokes:
            if abs(left - edge) > _SAME_EDGE:
                continue
            if offset:
                head, tail = line.parted(left, offset)
                return [*row[:index], head], [tail, *row[index + 1 :]]
            if index:
                return row[:index], row[index:]
    return None


def _ends_before(row: Sequence[Line], edge: float) -> bool:
    last = row[-1]
    return last.left + len(last.text) * _CHARACTER * last.size < edge

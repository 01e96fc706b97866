"""Columns that were drawn row by row, read one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

# Baselines closer than this, in font sizes, are the same.
_SAME_BASELINE = 0.1
# Lines of columns that are out of step differ by less than this, in font sizes.
_HARDLY = 1.25
# Left edges closer than this, in points, are the same.
_SAME_EDGE = 3.0
# Two columns have so many rows in common, and so much text in either: a table has less in its cells.
_FEWEST_ROWS = 5
_LEAST_TEXT = 20
_MOSTLY = 0.6
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

    def has_beside(self, line: Line) -> bool:
        """Whether `line` stands to the right, on the same baseline or clear of this one and hardly above or below."""
        clear = self.right < line.left and abs(self.baseline - line.baseline) < _HARDLY * line.size
        return clear or self.is_continued_by(line)

    @property
    def right(self) -> float:
        """About where it ends."""
        left, offset = self.strokes[-1] if self.strokes else (self.left, 0)
        return left + (len(self.text) - offset) * _CHARACTER * self.size

    def parted(self, left: float, offset: int) -> tuple[Line, Line]:
        """What stands before a stroke, and the rest."""
        before = [stroke for stroke in self.strokes if stroke[1] < offset]
        after = [(place, index - offset) for place, index in self.strokes if index >= offset]
        return (
            replace(self, text=self.text[:offset].rstrip(), strokes=before),
            replace(self, text=self.text[offset:].lstrip(), left=left, strokes=after),
        )


def in_columns(lines: Iterable[Line]) -> list[Line]:
    """The same lines, with rows that run across two columns of prose taken apart; the left column comes first."""
    rows: list[list[Line]] = []
    for line in lines:
        if rows and rows[-1][-1].has_beside(line):
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
            if edge is None or row[-1].right >= edge:
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
    (place, count), *others = edges.most_common(3)
    if any(abs(other - place) > 1 and often >= _MOSTLY * count for other, often in others):
        return None  # a table of three columns or more
    edge = place * _SAME_EDGE
    parted = [_halves(row, edge) for row in rows]
    halves = [each for each in parted if each]
    if len(halves) < _FEWEST_ROWS:
        return None
    # Of the rows between the first and the last that reach over the edge, most have a gap there: not just words.
    first, last = parted.index(halves[0]), len(parted) - parted[::-1].index(halves[-1])
    crossing = sum(row[0].left < edge - _SAME_EDGE and row[-1].right > edge for row in rows[first:last])
    if len(halves) < _MOSTLY * crossing:
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

"""Where a PDF page starts a new block (after a gap, with an indented line), its text gets a blank line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from beacon_cli.documents.pdf.columns import Line, in_columns
from beacon_cli.documents.pdf.fonts import Told, is_told

# A gap is what exceeds the usual distance between baselines by this factor.
_GAP = 1.3
# A step to the next line is at least this, in font sizes.
_LINE_STEP = 0.8
# A line is indented by at least this, in font sizes.
_INDENT = 0.7


class LineCollector:
    """A `visitor_text` for pypdf's `extract_text` that notes the position of each line.

    `characters` counts those that were seen, by what their fonts tell.
    """

    def __init__(self) -> None:
        self._lines = [Line()]
        self._followed = True
        self._told: dict[int, Told] = {}  # by the identity of fonts
        self.characters: Counter[Told] = Counter()

    def __call__(self, text: str, user: Sequence[float], matrix: Sequence[float], font: object, size: float) -> None:
        """Take a piece of text, its user and text matrices (six numbers each) and its font size."""
        line = self._lines[-1]
        if text.strip():
            if id(font) not in self._told:
                self._told[id(font)] = is_told(font)
            self.characters[self._told[id(font)]] += len(text.strip())
            # The text matrix times the user matrix, as far as it is needed: how the piece stands, where it starts.
            up = matrix[2] * user[1] + matrix[3] * user[3]
            left = matrix[4] * user[0] + matrix[5] * user[2] + user[4]
            line.strokes.append((left, len(line.text) if line.text.strip() else 0))
            if not line.text.strip():
                line.left = left
                line.baseline = matrix[4] * user[1] + matrix[5] * user[3] + user[5]
            line.size = max(line.size, round(abs(size * up), 1))
            self._followed &= up > 0 and math.isfinite(line.left + line.baseline + line.size)
        before, *after = text.split("\n")
        self._followed &= not any(after)  # a second line in one piece: where it stands is not told
        line.text += before
        self._lines.extend(Line(part) for part in after)

    def text(self, extracted: str) -> str:
        """`extracted`, with a blank line before each block; unchanged where positions are of no use."""
        if not self._followed or "\n".join(line.text for line in self._lines) != extracted:
            return extracted
        lines = _merged(in_columns(line for line in self._lines if line.text.strip()))
        leading = _leading(lines)
        parts = [line.text for line in lines[:1]]
        for (before, line), after in zip(pairwise(lines), [*lines[2:], None], strict=False):
            step = before.baseline - line.baseline
            gap = step > _GAP * min(leading[before.size], leading[line.size])
            upwards = step < 0  # the next column, or a footer that was drawn first
            parts += [""] * (gap or upwards or _is_indented(before, line, after))
            parts.append(line.text)
        return "\n".join(parts)


def _merged(lines: Iterable[Line]) -> list[Line]:
    """Lines that go on where the one before ended, as in `Chapter 1 ... 7` drawn in two strokes, made one."""
    merged: list[Line] = []
    for line in lines:
        before = merged[-1] if merged else None
        if before and before.is_continued_by(line):
            before.text += f" {line.text}"
            before.size = max(before.size, line.size)
        else:
            merged.append(line)
    return merged


def _leading(lines: Sequence[Line]) -> dict[float, float]:
    """The usual distance of baselines for each font size of the page."""
    steps: dict[float, list[float]] = {line.size: [] for line in lines}
    for line, following in pairwise(lines):
        step = line.baseline - following.baseline
        if line.size == following.size and step > _LINE_STEP * line.size:
            steps[line.size].append(step)
    # The lower quartile and not the median, as most lines of a list may stand apart.
    return {size: sorted(found)[len(found) // 4] if found else size * 1.2 for size, found in steps.items()}


def _is_indented(before: Line, line: Line, after: Line | None) -> bool:
    """Whether `line` alone stands further right, as the first of a paragraph does and the rest of a list item not."""
    if after is None:
        return False
    return line.left - max(before.left, after.left) > _INDENT * line.size

"""Tables that fit a terminal: what identifies a row stays whole, the rest is shortened, then left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from beacon_cli.console.text import one_line, shortened

_GAP = "  "
_FIGURES = re.compile(r"[\d.,:/ -]+( ?[kMGT]?i?B| ?%)?|[?-]|")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: at its head.
        keep: it identifies the row, and is neither shortened nor left out.
        drop: 0 if it is never left out; else the larger, the earlier.
        least: to how many characters its texts may be shortened; figures are never.
    """

    title: str
    keep: bool = False
    drop: int = 0
    least: int = 8


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of a table, its head first, that take `width` columns if the columns that stay whole allow it."""
    cells = [[each.title for each in columns], *([one_line(cell) for cell in row] for row in rows)]
    by_column = [list(column) for column in zip(*cells, strict=True)]
    figures = [all(_FIGURES.fullmatch(cell) for cell in column[1:]) for column in by_column]
    shown = list(range(len(columns)))
    while True:
        widths = {index: max(map(cell_len, by_column[index])) for index in shown}
        excess = sum(widths.values()) + len(_GAP) * (len(shown) - 1) - width
        room = {
            index: widths[index] - max(columns[index].least, cell_len(columns[index].title))
            for index in shown
            if not (columns[index].keep or figures[index])
        }
        droppable = [index for index in shown if columns[index].drop and not columns[index].keep]
        if excess <= sum(size for size in room.values() if size > 0) or not droppable:
            break
        shown.remove(max(droppable, key=lambda index: columns[index].drop))
    _shrink(widths, room, excess)
    return [_GAP.join(_cell(row[index], widths[index], figures[index]) for index in shown).rstrip() for row in cells]


def _shrink(widths: dict[int, int], room: dict[int, int], excess: int) -> None:
    """Take `excess` from the columns that have `room`, always from the widest."""
    while excess > 0 and (able := [index for index, size in room.items() if size > 0]):
        widest = max(able, key=lambda index: widths[index])
        widths[widest], room[widest], excess = widths[widest] - 1, room[widest] - 1, excess - 1


def _cell(text: str, width: int, is_figure: bool) -> str:
    text = shortened(text, width)
    return " " * (width - cell_len(text)) + text if is_figure else set_cell_size(text, width)

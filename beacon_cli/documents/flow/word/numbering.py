"""The numbers that Word puts before paragraphs: they stand nowhere in the text."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace

from lxml import etree

from beacon_cli.documents.flow import notation
from beacon_cli.documents.flow.word.elements import attribute, first, is_on, tag

_LEVELS = 9
_PLACE = re.compile("%([1-9])")


@dataclass(frozen=True)
class _Level:
    form: str = "decimal"
    text: str = ""
    start: int = 1
    is_legal: bool = False  # the numbers of other levels are written in digits


class Numbering:
    """The lists of a document, counted on with each of their paragraphs."""

    def __init__(self, root: etree._Element | None) -> None:
        patterns = _patterns(root)
        self._lists: dict[str, tuple[str, dict[int, _Level]]] = {}  # what counts together, and the levels
        self._counts: dict[str, list[int | None]] = defaultdict(lambda: [None] * _LEVELS)
        for each in () if root is None else root:
            if tag(each) == "w:num":
                pattern = attribute(first(each, "w:abstractNumId")) or ""
                levels, restarts = dict(patterns.get(pattern, {})), False
                for override in each.iterchildren("{*}lvlOverride"):
                    levels |= _levels(override)
                    index, start = _whole(override, "ilvl"), _whole(first(override, "w:startOverride"), "val")
                    if index is not None and start is not None:
                        levels[index], restarts = replace(levels.get(index, _Level()), start=start), True
                key = attribute(each, "numId") or ""
                self._lists[key] = (key if restarts else f"all of {pattern}", levels)

    def next_label(self, number: str, level: int) -> str:
        """What stands before the next paragraph of a list: "2.1", "(b)", "-" for any bullet; may be empty."""
        if number not in self._lists or not 0 <= level < _LEVELS:
            return ""
        together, levels = self._lists[number]
        counts = self._counts[together]
        before = counts[level]
        counts[level] = levels.get(level, _Level()).start if before is None else before + 1
        counts[level + 1 :] = [None] * (_LEVELS - level - 1)
        shown = levels.get(level, _Level())
        if shown.form == "bullet":
            return "-"

        def one(found: re.Match[str]) -> str:
            index = int(found[1]) - 1
            inner = levels.get(index, _Level())
            count = counts[index]
            form = "decimal" if shown.is_legal and index != level else inner.form
            return notation.numbered(inner.start if count is None else count, form)

        return "" if shown.form == "none" else _PLACE.sub(one, shown.text).strip()


def _patterns(root: etree._Element | None) -> dict[str, dict[int, _Level]]:
    """The levels of abstract lists by their ids; one may stand for another by the name of a style."""
    patterns, named, standing = {}, {}, {}
    for each in () if root is None else root.iterchildren("{*}abstractNum"):
        key = attribute(each, "abstractNumId") or ""
        patterns[key] = _levels(each)
        if (name := attribute(first(each, "w:styleLink"))) is not None:
            named[name] = key
        if (name := attribute(first(each, "w:numStyleLink"))) is not None:
            standing[key] = name
    return patterns | {key: patterns[named[name]] for key, name in standing.items() if name in named}


def _levels(parent: etree._Element) -> dict[int, _Level]:
    levels = {}
    for each in parent.iterchildren("{*}lvl"):
        start = _whole(first(each, "w:start"), "val")
        levels[_whole(each, "ilvl") or 0] = _Level(
            attribute(first(each, "w:numFmt")) or "decimal",
            attribute(first(each, "w:lvlText")) or "",
            1 if start is None else start,
            bool(is_on(each, "w:isLgl")),
        )
    return levels


def _whole(element: etree._Element | None, name: str) -> int | None:
    value = attribute(element, name) or ""
    return int(value) if value.isdecimal() and len(value) < 10 else None

"""What a paragraph's style means for its text: headings, numbers, what is hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from beacon_cli.documents.flow.word.elements import attribute, first, is_on, tag

_HEADING = re.compile(r"(?i)heading ([1-9])")
_MOST_ANCESTORS = 32


class Styles:
    """The styles of a document by their ids; a style has what the one that it is based on has."""

    def __init__(self, root: etree._Element | None) -> None:
        self._styles: dict[str, etree._Element] = {}
        self._default: str | None = None  # of paragraphs
        for style in () if root is None else root:
            if tag(style) == "w:style" and (key := attribute(style, "styleId")):
                self._styles[key] = style
                if attribute(style, "type") == "paragraph" and attribute(style, "default") in ("1", "true", "on"):
                    self._default = key

    def level(self, paragraph: etree._Element) -> int:
        """Of a heading, from 1; 0 for any other text."""
        for name, properties in self._properties(paragraph):
            outline = attribute(first(properties, "w:outlineLvl")) or ""
            if outline.isdecimal():
                return (int(outline) + 1) % 10  # 9 stands for text
            if heading := _HEADING.fullmatch(name):
                return int(heading[1])
            if name.lower() == "title":
                return 1
        return 0

    def numbering(self, paragraph: etree._Element) -> tuple[str, int] | None:
        """The list that numbers a paragraph, and the level in it from 0."""
        number, level = None, None
        for _, properties in self._properties(paragraph):
            given = first(properties, "w:numPr")
            number = number or attribute(first(given, "w:numId"))
            level = level or attribute(first(given, "w:ilvl"))
        return None if number is None or number == "0" else (number, int(level) if level and level.isdecimal() else 0)

    def is_hidden(self, run: etree._Element, paragraph: etree._Element | None) -> bool:
        """Whether a run is not shown: by itself, its style or that of its paragraph."""
        own = first(run, "w:rPr")
        if (said := is_on(own, "w:vanish")) is not None:
            return said
        keys = [attribute(first(own, "w:rStyle")), self._style_of(paragraph)]
        for key in keys:
            for style in self._chain(key):
                if (said := is_on(first(style, "w:rPr"), "w:vanish")) is not None:
                    return said
        return False

    def _properties(self, paragraph: etree._Element) -> Iterator[tuple[str, etree._Element | None]]:
        """Those of a paragraph itself, then the name and properties of its style and of what that is based on."""
        yield "", first(paragraph, "w:pPr")
        for style in self._chain(self._style_of(paragraph)):
            yield attribute(first(style, "w:name")) or "", first(style, "w:pPr")

    def _style_of(self, paragraph: etree._Element | None) -> str | None:
        return attribute(first(paragraph, "w:pPr", "w:pStyle")) or self._default

    def _chain(self, key: str | None) -> Iterator[etree._Element]:
        for _ in range(_MOST_ANCESTORS):
            style = self._styles.get(key or "")
            if style is None:
                return
            yield style
            key = attribute(first(style, "w:basedOn"))

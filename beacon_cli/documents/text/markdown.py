"""Markdown: its headings are sections, its lines stay as they are."""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import BinaryIO

from markdown_it import MarkdownIt

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.text import headings
from beacon_cli.documents.text.text import decoded, parts, tidied


def read_markdown(file: BinaryIO) -> WholeFile:
    """A Markdown file; its title is the first heading."""
    text, notes = decoded(file.read())
    found = _headings(text.replace("\f", "\n"))
    title = headings.section(headings.under((), 1, found[0][2])) if found else None
    pages = []
    path: headings.Path = ()
    ahead = deque(found)
    given = parts(text)
    for part, end in zip(given, accumulate(map(len, given)), strict=True):
        section = headings.section(path) if not ahead or ahead[0][0] >= end else None
        while ahead and ahead[0][0] < end:
            _, level, heading = ahead.popleft()
            path = headings.under(path, level, heading)
            section = section or headings.section(path)  # of several on a page, the first
        pages.append((section, tidied(part)))
    return WholeFile(pages, title, notes)


def _headings(text: str) -> list[tuple[int, int, str]]:
    """Offset, level and text of each heading, as CommonMark tells them: lines of code are none."""
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    tokens = MarkdownIt("commonmark").disable("inline").parse(text)
    return [
        (starts[token.map[0]], int(token.tag[1]), tokens[index + 1].content)
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.map
    ]

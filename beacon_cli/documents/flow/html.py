"""Web pages as blocks of text: what a reader sees of them, without scripts and what is hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PreformattedString, Tag

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.flow.paging import Paragraph, Part, paged

_UNSEEN = {
    *("script", "style", "template", "head", "noscript", "svg", "math", "iframe", "object", "embed", "audio"),
    *("video", "canvas", "select", "button", "datalist", "rp"),
}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div"),
    *("dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("header", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "p", "pre", "section", "summary"),
    *("table", "tbody", "tfoot", "thead", "tr", "ul"),
}
_CELLS, _ROWS = {"td", "th"}, {"tr", "li"}
_HEADING = re.compile(r"h([1-6])")
_HIDDEN_STYLE = re.compile(r"(?i)display\s*:\s*none|visibility\s*:\s*hidden")


def read_html(file: BinaryIO) -> WholeFile:
    """A web page; its encoding is the one that it declares, else guessed."""
    soup = BeautifulSoup(file.read(), "html.parser")
    title = soup.find("title")
    return paged([Part(list(paragraphs(soup)))], title.get_text() if isinstance(title, Tag) else None)


def paragraphs(root: Tag) -> Iterator[Paragraph]:
    """The blocks of a document or of one of its elements."""
    pieces: list[str] = []
    level = 0
    for event, node in _walk(root):
        if isinstance(node, NavigableString):
            pieces.append(node if _is_preformatted(node) else re.sub(r"\s+", " ", node))
        elif node.name == "br":
            pieces.append("\n" if event == "start" else "")
        elif node.name in _CELLS:
            if event == "start" and pieces:  # many pages leave cells open: their ends tell nothing
                pieces.append(" | ")
        elif node.name in _BLOCKS:
            text = _block_text(pieces)
            if text:
                yield Paragraph(text, level, is_row=node.name in _ROWS)
            pieces = ["- "] if node.name == "li" and event == "start" else []
            heading = _HEADING.fullmatch(node.name)
            level = int(heading[1]) if heading and event == "start" else 0
    if text := _block_text(pieces):
        yield Paragraph(text)


def _walk(root: Tag) -> Iterator[tuple[str, Tag | NavigableString]]:
    """Starts and ends of elements, and strings, in order; not recursive, as web pages may be nested absurdly deep."""
    stack: list[tuple[str, Tag | NavigableString]] = [("start", root)]
    while stack:
        event, node = stack.pop()
        if isinstance(node, NavigableString):
            if not isinstance(node, PreformattedString):  # comments, declarations
                yield event, node
        elif event == "end":
            yield event, node
        elif not _is_hidden(node):
            yield event, node
            stack.append(("end", node))
            stack.extend(
                ("start", child) for child in reversed(node.contents) if isinstance(child, Tag | NavigableString)
            )


def _is_hidden(tag: Tag) -> bool:
    style = tag.get("style")
    return (
        tag.name in _UNSEEN
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or (isinstance(style, str) and _HIDDEN_STYLE.search(style) is not None)
    )


def _is_preformatted(text: NavigableString) -> bool:
    return text.find_parent("pre") is not None


def _block_text(pieces: list[str]) -> str:
    text = re.sub(r"[^\S\n]*\n[^\S\n]*", "\n", "".join(pieces)) if "\n" in pieces else "".join(pieces)
    text = text.strip()
    return "" if text == "-" else re.sub(r"(?<=\S) {2,}", " ", text)

"""Web pages as browsers parse them, in paragraphs: what a reader sees of them, without scripts and what is hidden.

lexbor (through selectolax) parses by the WHATWG's rules, as browsers do; `webencodings` has its names of encodings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, Literal

import webencodings
from selectolax.lexbor import LexborHTMLParser, LexborNode

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.flow import notation
from beacon_cli.documents.flow.mathml import formula
from beacon_cli.documents.flow.paging import Paragraph, Part, paged
from beacon_cli.documents.flow.xml import parse_strictly, to_html
from beacon_cli.documents.text.text import decoded

_UNSEEN = {
    *("script", "style", "template", "head", "noscript", "svg", "iframe", "object", "embed", "audio", "video"),
    *("canvas", "select", "datalist", "rp", "noframes", "noembed"),
}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div"),
    *("dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("header", "hgroup", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "p", "pre", "search", "section"),
    *("summary", "table", "tbody", "textarea", "tfoot", "thead", "tr", "ul"),
}
# A cell with one of these is laid out as a page is; in any other, paragraphs are parts of one row.
_LAID_OUT = "table, ul, ol, h1, h2, h3, h4, h5, h6"
_HEADING = re.compile(r"h([1-6])")
_HIDDEN_STYLE = re.compile(r"(?i)\b(?:display|visibility)\s{0,9}:\s{0,9}(?:none|hidden|collapse)")
_LIST_TYPES = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_NEXT_CELL = " | "
_CLOSED = re.compile(r"<([A-Za-z][\w:]*)(?=[\s/])([^<>]*)/>")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_TAG = re.compile(r"<(/?)([A-Za-z][^\s<>/]{0,20})[^<>]*>")
# Elements that another one ends, or that have no end: they are not counted as nested.
_ENDED_BY_OTHERS = _VOID | {
    *("p", "li", "dd", "dt", "tr", "td", "th", "tbody", "thead", "tfoot", "colgroup", "option", "optgroup", "rb", "rt"),
    *("rtc", "rp", "html", "head", "body"),
}
# As in Chrome. lexbor goes through all open elements for each that may end a paragraph.
_DEEPEST = 512
# Browsers look for the encoding no further in than this.
_DECLARED_WITHIN = 1024

Event = Literal["start", "end"]


def read_html(file: BinaryIO) -> WholeFile:
    """A web page."""
    data = file.read()
    root, notes = parsed_xhtml(data) if data.lstrip().startswith(b"<?xml") else parsed(data)
    title = root.css_first("title")
    return paged([Part(list(paragraphs(root)))], title.text() if title else None, notes)


def parsed(data: bytes) -> tuple[LexborNode, list[str]]:
    """The tree of a web page, and remarks on how it was decoded."""
    text, notes = _decoded(data)
    return _tree(text), notes


def parsed_xhtml(data: bytes) -> tuple[LexborNode, list[str]]:
    """The same for XHTML: as XML if it is well-formed, which few mistakes hinder, else as HTML."""
    if (root := parse_strictly(data)) is not None:
        return _tree(to_html(root)), []
    text, notes = _decoded(data)
    return _tree(_CLOSED.sub(_opened, text)), notes


def _opened(found: re.Match[str]) -> str:
    """`<title/>`, which ends itself in XHTML only."""
    return found[0] if found[1].lower() in _VOID else f"<{found[1]}{found[2]}></{found[1]}>"


def _tree(text: str) -> LexborNode:
    root = LexborHTMLParser(_flattened(text)).root
    if root is None:
        raise ValueError("it holds no element")
    return root


def _flattened(text: str) -> str:
    """The source, in which elements of one name that are nested deeper than `_DEEPEST` follow one another there."""
    depth: Counter[str] = Counter()

    def bounded(tag: re.Match[str]) -> str:
        name, ends = tag[2].lower(), bool(tag[1])
        if name in _ENDED_BY_OTHERS or (tag[0].endswith("/>") and name not in _BLOCKS):
            return tag[0]
        within = depth[name] - ends
        depth[name] = max(0, within + (not ends))
        if within < _DEEPEST:
            return tag[0]
        return f"</{name}>" + (f"<{name}>" if ends else tag[0])

    return _TAG.sub(bounded, text)


def paragraphs(root: LexborNode) -> Iterator[Paragraph]:
    """The paragraphs of a document or of one of its elements."""
    gathering = _Gathering()
    for event, node in _walk(root):
        if node.is_text_node:
            gathering.text(node.text_content or "")
        elif (paragraph := gathering.tag(event, node)) is not None:
            yield paragraph
    if (paragraph := gathering.ended()) is not None:
        yield paragraph


class _Gathering:
    """The paragraph that is being gathered from texts and tags."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._level = 0
        self._marker = ""  # of a list's item, until its text comes
        self._open_pre = 0
        self._is_preformatted = False
        self._cell: int | None = None  # the cell that is one text, while it is open
        self._raised: list[int] = []  # where each open superscript begins
        self._counts: list[int | None] = []  # of open lists; None where items have no numbers

    def text(self, text: str) -> None:
        """Text as it stands in the source."""
        self._is_preformatted |= bool(self._open_pre and text.strip())
        self._pieces.append(text if self._open_pre else re.sub(r"\s+", " ", text))

    def tag(self, event: Event, node: LexborNode) -> Paragraph | None:
        """A tag; it may end a paragraph."""
        name, starts = node.tag or "", event == "start"
        if name in _BLOCKS:
            return self._block(node, name, starts=starts)
        if name in ("td", "th"):
            self._table_cell(node, starts=starts)
        elif name == "sup":
            self._superscript(node, starts=starts)
        elif name == "rt":
            self._pieces.append("(" if starts else ")")
        elif name == "button":
            self._pieces.append(" ")
        elif name == "br" and starts:
            self._pieces.append("\n")
        elif name == "img" and starts and (instead := (node.attributes.get("alt") or "").strip()):
            self._pieces.append(f" [{' '.join(instead.split())}] ")
        elif name == "math" and starts:
            self._pieces.append(formula(node))
        return None

    def ended(self, *, is_row: bool = False) -> Paragraph | None:
        """The paragraph so far, if it has text; the next one begins."""
        while self._pieces and self._pieces[-1] in ("", " ", _NEXT_CELL):
            self._pieces.pop()
        lines = "".join(self._pieces).split("\n")
        kept = map(str.rstrip, lines) if self._is_preformatted else (" ".join(line.split()) for line in lines)
        text = "\n".join(kept).strip("\n")
        self._pieces, self._is_preformatted, self._raised = [], False, []
        if not text.strip():
            return None
        marker, self._marker = self._marker, ""
        return Paragraph(marker + text, self._level, is_row=is_row or bool(marker))

    def _block(self, node: LexborNode, name: str, *, starts: bool) -> Paragraph | None:
        if self._cell is not None:
            self._pieces.append(" ")
            return None
        paragraph = self.ended(is_row=name in ("tr", "li"))
        heading = _HEADING.fullmatch(name)
        self._level = int(heading[1]) if heading and starts else 0
        if name in ("pre", "textarea"):
            self._open_pre += 1 if starts else -1
        elif name == "li":
            self._marker = self._next_marker(node) if starts else ""
        elif name in ("ol", "ul", "menu"):
            if starts:
                self._counts.append(_number(node, "start", 1) if name == "ol" else None)
            else:
                self._counts.pop()
        return paragraph

    def _next_marker(self, node: LexborNode) -> str:
        if not self._counts or self._counts[-1] is None:
            return "- "
        count = _number(node, "value", self._counts[-1])
        self._counts[-1] = count + 1
        kind = node.parent.attributes.get("type") if node.parent else None
        return f"{notation.numbered(count, _LIST_TYPES.get(kind or '', 'decimal'))}. "

    def _table_cell(self, node: LexborNode, *, starts: bool) -> None:
        if starts and self._cell is None:
            if self._pieces:
                self._pieces.append(_NEXT_CELL)
            if node.css_first(_LAID_OUT) is None:
                self._cell = node.mem_id
        elif not starts and self._cell == node.mem_id:
            self._cell = None

    def _superscript(self, node: LexborNode, *, starts: bool) -> None:
        if starts:
            self._raised.append(len(self._pieces))
            return
        begin = self._raised.pop() if self._raised else 0
        if self._raised or not begin:
            return  # within another, or a paragraph has ended in it
        is_reference = node.css_first("a") is not None or (node.parent is not None and node.parent.tag == "a")
        text = "".join(self._pieces[begin:])
        self._pieces[begin:] = [notation.raised(text, self._pieces[begin - 1], is_reference=is_reference)]


def _walk(root: LexborNode) -> Iterator[tuple[Event, LexborNode]]:
    """Starts and ends of visible elements, and texts, in order; not recursive, as pages may be nested absurdly deep."""
    above: list[LexborNode] = []
    node: LexborNode | None = root
    while node is not None or above:
        if node is None:
            ended = above.pop()
            yield "end", ended
            node = ended.next if above else None
        elif node.is_element_node and node.tag != "math" and not _is_hidden(node):
            yield "start", node
            above.append(node)
            node = node.first_child
        else:
            if node.is_text_node or (node.tag == "math" and not _is_hidden(node)):
                yield "start", node
            node = node.next if above else None


def _is_hidden(node: LexborNode) -> bool:
    if node.tag in _UNSEEN:
        return True
    attributes = node.attributes
    if node.tag == "dialog" and "open" not in attributes:
        return True
    if not attributes:
        return False
    if attributes.get("aria-hidden") == "true" or ("hidden" in attributes and attributes["hidden"] != "until-found"):
        return True
    # Pictures of formulas come with the formula hidden.
    return _HIDDEN_STYLE.search(attributes.get("style") or "") is not None and node.css_first("math") is None


def _number(node: LexborNode, attribute: str, otherwise: int) -> int:
    value = (node.attributes.get(attribute) or "").strip()
    return int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else otherwise


def _decoded(data: bytes) -> tuple[str, list[str]]:
    """By a byte order mark, else as declared, else as any text; a declaration of UTF-8 is as good as none."""
    declared = None if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) else _declared(data)
    if declared is None or declared.name == "utf-8":
        return decoded(data)
    return webencodings.decode(data, declared)[0], []


def _declared(data: bytes) -> webencodings.Encoding | None:
    """The encoding that a page names; one that could not be read as ASCII means UTF-8."""
    for meta in LexborHTMLParser(data[:_DECLARED_WITHIN].decode("latin-1")).css("meta"):
        attributes = {name.lower(): value or "" for name, value in meta.attributes.items()}
        label = attributes.get("charset", "")
        if not label and attributes.get("http-equiv", "").lower() == "content-type":
            label = attributes.get("content", "").lower().partition("charset=")[2].partition(";")[0]
        encoding = webencodings.lookup(label.strip(" \t\n\f\r\"'"))
        if encoding is not None:
            return webencodings.lookup("utf-8" if encoding.name.startswith("utf-16") else encoding.name)
    return None

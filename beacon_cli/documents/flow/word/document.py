"""Word documents: all that their pages show but heads, feet and comments, on the pages that Word last laid out.

Read from the XML through lxml: python-docx refuses strict files and those with macros, and sees no footnotes, text
boxes, content controls, numbers or formulas; mammoth knows nothing of pages, numbers and formulas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO
from zipfile import ZipFile

from lxml import etree

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.flow import notation
from beacon_cli.documents.flow.paging import Paragraph, Part, paged
from beacon_cli.documents.flow.word.elements import attribute, contents, first, tag
from beacon_cli.documents.flow.word.formula import formula
from beacon_cli.documents.flow.word.numbering import Numbering
from beacon_cli.documents.flow.word.package import Package
from beacon_cli.documents.flow.word.styles import Styles
from beacon_cli.documents.flow.word.symbols import symbol

_CHARACTERS = {
    "w:tab": "\t",
    "w:ptab": "\t",
    "w:cr": "\n",
    "w:noBreakHyphen": "\N{NON-BREAKING HYPHEN}",
    "w:softHyphen": "\N{SOFT HYPHEN}",
    "w:lastRenderedPageBreak": "\f",
}
_FORMULAS = ("m:oMath", "m:oMathPara")
_DRAWINGS = ("w:drawing", "w:pict", "w:object")
# Form feeds that nothing stands between.
_FORM_FEEDS = re.compile(r"\f[\f\s]*\f")


def read_docx(file: BinaryIO) -> WholeFile:
    """A document; its heads, feet and comments are not read."""
    with ZipFile(file) as archive:
        package = Package(archive)
        body = first(package.document, "w:body")
        reader = _Reader(package)
        paragraphs = [] if body is None else list(reader.paragraphs(body))
        return paged([Part(_once_broken(paragraphs))], package.title, reader.remarks())


class _Reader:
    """Reads a document from its beginning to its end, counting lists and notes as it goes."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._styles = Styles(package.part("styles"))
        self._numbering = Numbering(package.part("numbering"))
        self._notes = {
            f"w:{kind}Reference": _notes(package.part(f"{kind}s"), f"w:{kind}") for kind in ("footnote", "endnote")
        }
        self._count = {"w:footnoteReference": 0, "w:endnoteReference": 0}
        self._aside: list[Paragraph] = []  # notes and text boxes: they come after the paragraph or table they hang on
        self._open_cells = 0
        self._embedded = 0

    def remarks(self) -> list[str]:
        """What is not read."""
        lost = [f"has damaged {kind}, which are left out" for kind in self._package.damaged]
        number = self._embedded
        what = "an embedded document, which is" if number == 1 else f"{number:,} embedded documents, which are"
        return [*lost, f"has {what} not read"] if number else lost

    def paragraphs(self, parent: etree._Element) -> Iterator[Paragraph]:
        """The paragraphs and rows of a body, cell, note or text box."""
        for name, element in _merged(contents(parent)):
            if name == "w:p":
                yield self._paragraph(element)
            elif name == "w:tbl":
                yield from self._rows(element)
            elif name in _FORMULAS:
                yield Paragraph(formula(element))
            elif name in ("w:altChunk", "w:subDoc"):
                self._embedded += 1
            if not self._open_cells:
                aside, self._aside = self._aside, []
                yield from aside

    def _paragraph(self, element: etree._Element) -> Paragraph:
        text = self._text(element, element)
        level = self._styles.level(element)
        mark = first(element, "w:pPr", "w:rPr")
        marked = {tag(child) for child in (() if mark is None else mark)}
        is_gone = not text.strip() and bool(marked & {"w:moveFrom", "w:del", "w:vanish"})
        numbering = None if is_gone else self._styles.numbering(element)
        label = "" if numbering is None else self._numbering.next_label(*numbering)
        if not label or not text.strip():
            return Paragraph(text, level)
        breaks, rest = re.fullmatch(r"(\s*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # matches all
        return Paragraph(f"{breaks}{label} {rest}", level, is_row=not level)

    def _text(self, parent: etree._Element, paragraph: etree._Element) -> str:
        """The text of a paragraph, or of something in it, with form feeds where pages end."""
        pieces = [""]
        for name, element in contents(parent):
            if name == "w:r":
                pieces.append(self._run(element, paragraph, pieces[-1]))
            elif name in _FORMULAS:
                pieces.append(formula(element))
        return "".join(pieces)

    def _run(self, run: etree._Element, paragraph: etree._Element, before: str) -> str:
        if self._styles.is_hidden(run, paragraph):
            return ""
        text = "".join(self._piece(name, element, paragraph) for name, element in contents(run))
        is_raised = attribute(first(run, "w:rPr", "w:vertAlign")) == "superscript"
        is_note = any(name in self._notes for name, _ in contents(run))
        return notation.raised(text, before) if is_raised and not is_note else text

    def _piece(self, name: str, element: etree._Element, paragraph: etree._Element) -> str:
        if name == "w:t":
            return element.text or ""
        if name == "w:br":
            return "\f" if attribute(element, "type") == "page" else "\n"
        if name == "w:sym":
            return symbol(attribute(element, "font") or "", attribute(element, "char") or "")
        if name in self._notes:
            return self._note(name, attribute(element, "id") or "")
        if name in _DRAWINGS:
            for box in _text_boxes(element):
                found = self._by_itself(box)
                self._aside += found
            return ""
        if name == "w:ruby":
            base, reading = first(element, "w:rubyBase"), first(element, "w:rt")
            texts = ["" if part is None else self._text(part, paragraph) for part in (base, reading)]
            return f"{texts[0]}({texts[1]})" if texts[1] else texts[0]
        return _CHARACTERS.get(name, "")

    def _note(self, reference: str, key: str) -> str:
        """The mark of a note, whose text comes after the paragraph."""
        note = self._notes[reference].pop(key, None)  # read once, also if it refers to itself
        if note is None:
            return ""
        self._count[reference] += 1
        form = "decimal" if reference == "w:footnoteReference" else "lowerRoman"
        mark = notation.numbered(self._count[reference], form)
        texts = [paragraph.text.strip() for paragraph in self._by_itself(note)]
        self._aside.append(Paragraph(f"[{mark}] " + "\n".join(filter(None, texts))))
        return f"[{mark}]"

    def _by_itself(self, parent: etree._Element) -> list[Paragraph]:
        """The paragraphs of a note or text box, with what hangs on them in turn."""
        waiting, self._aside = self._aside, []
        found = [*self.paragraphs(parent), *self._aside]
        self._aside = waiting
        return found

    def _rows(self, table: etree._Element) -> Iterator[Paragraph]:
        above: dict[int, str] = {}  # the text of each column's last cell, which may span rows
        for name, row in contents(table):
            if name != "w:tr" or first(row, "w:trPr", "w:del") is not None:
                continue
            cells, column = [], 0
            for cell in (each for kind, each in contents(row) if kind == "w:tc"):
                properties = first(cell, "w:tcPr")
                merged = first(properties, "w:vMerge")
                if merged is None or attribute(merged) == "restart":
                    above[column] = self._cell(cell)
                cells.append(above.get(column, ""))
                span = attribute(first(properties, "w:gridSpan")) or ""
                column += int(span) if span.isdecimal() and len(span) < 4 else 1
            yield Paragraph(" | ".join(cells).rstrip(" |"), is_row=True)

    def _cell(self, cell: etree._Element) -> str:
        """The text of a cell on one line; tables in it are told apart by commas and semicolons."""
        self._open_cells += 1
        parts = [
            replace(part, text=part.text.replace(" | ", ", ") + ";") if part.is_row and " | " in part.text else part
            for part in self.paragraphs(cell)
        ]
        self._open_cells -= 1
        return " ".join(" ".join(part.text for part in parts).split()).removesuffix(";")


def _notes(root: etree._Element | None, kind: str) -> dict[str, etree._Element]:
    """The notes of a kind by their ids, without the lines that separate them from the text."""
    return {
        attribute(each, "id") or "": each
        for each in (() if root is None else root)
        if tag(each) == kind and attribute(each, "type") in (None, "normal")
    }


def _text_boxes(drawing: etree._Element) -> Iterator[etree._Element]:
    for name, element in contents(drawing):
        if name == "w:txbxContent":
            yield element
        else:
            yield from _text_boxes(element)


def _merged(elements: Iterator[tuple[str, etree._Element]]) -> Iterator[tuple[str, etree._Element]]:
    """The same, with what follows a paragraph whose end was deleted in the one paragraph that this makes."""
    kept: etree._Element | None = None  # a paragraph that the next one is to take in
    for name, element in elements:
        if kept is not None and name == "w:p":
            taken = [child for child in kept if tag(child) != "w:pPr"]
            at = 1 if first(element, "w:pPr") is not None else 0
            element[at:at] = taken
        elif kept is not None:
            yield "w:p", kept
        kept = element if name == "w:p" and first(element, "w:pPr", "w:rPr", "w:del") is not None else None
        if kept is None:
            yield name, element
    if kept is not None:
        yield "w:p", kept


def _once_broken(paragraphs: list[Paragraph]) -> list[Paragraph]:
    """A page that was ended by hand is also where the layout ended one: it ends once."""
    broken = False
    result = []
    for paragraph in paragraphs:
        text = _FORM_FEEDS.sub("\f", paragraph.text)
        if broken and text.lstrip(" \t\n").startswith("\f"):
            text = text.replace("\f", "", 1)
        if text.strip() or "\f" in text:
            broken = text.rstrip(" \t\n").endswith("\f")
        result.append(replace(paragraph, text=text))
    return result

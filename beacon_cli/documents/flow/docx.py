"""Word documents: paragraphs and tables, on the pages that Word last laid out."""

from __future__ import annotations

import re
from typing import BinaryIO

import docx
from docx.oxml.ns import qn
from docx.table import Table, _Row
from docx.text import paragraph as docx_paragraph

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.flow.paging import Paragraph, Part, paged

_TEXT, _TAB, _BREAK, _LAID_OUT = (qn(f"w:{name}") for name in ("t", "tab", "br", "lastRenderedPageBreak"))
_BREAK_TYPE, _TAB_STOPS = qn("w:type"), qn("w:tabs")
_HEADING = re.compile(r"(?i)heading ([1-9])")


def read_docx(file: BinaryIO) -> WholeFile:
    """A document; its headers, footers and comments are not read."""
    document = docx.Document(file)
    blocks = [
        block
        for item in document.iter_inner_content()
        for block in (_rows(item) if isinstance(item, Table) else [Paragraph(_text(item), _level(item))])
    ]
    return paged([Part(_once_broken(blocks))], document.core_properties.title)


def _text(paragraph: docx_paragraph.Paragraph) -> str:
    """Its text with form feeds where pages end; deleted text is not in it."""
    pieces = []
    for element in paragraph._p.iter(_TEXT, _TAB, _BREAK, _LAID_OUT):
        if element.tag == _TEXT:
            pieces.append(element.text or "")
        elif element.tag == _LAID_OUT or element.get(_BREAK_TYPE) == "page":
            pieces.append("\f")
        elif element.tag == _BREAK:
            pieces.append("\n")
        elif element.getparent().tag != _TAB_STOPS:
            pieces.append("\t")
    return "".join(pieces)


def _level(paragraph: docx_paragraph.Paragraph) -> int:
    name = (paragraph.style.name if paragraph.style is not None else None) or ""
    heading = _HEADING.fullmatch(name)
    return int(heading[1]) if heading else int(name == "Title")


def _rows(table: Table) -> list[Paragraph]:
    return [Paragraph(" | ".join(_cells(row)), is_row=True) for row in table.rows]


def _cells(row: _Row) -> list[str]:
    """The texts of a row; a cell that spans several columns counts once."""
    cells = {id(cell._tc): " ".join(_text(paragraph) for paragraph in cell.paragraphs) for cell in row.cells}
    return [text.replace("\f", " ").strip() for text in cells.values()]


def _once_broken(blocks: list[Paragraph]) -> list[Paragraph]:
    """A page that was ended by hand is also where the layout ended one: it ends once."""
    broken = False
    result = []
    for block in blocks:
        text = re.sub(r"\f(\s*\f)+", "\f", block.text)
        if broken and text.lstrip().startswith("\f"):
            text = text.replace("\f", "", 1)
        if text.strip() or "\f" in text:
            broken = text.rstrip(" \t\n").endswith("\f")
        result.append(Paragraph(text, block.level, block.is_row))
    return result

"""Typeset country reports of the CIA World Factbook as a book: title page, contents, running heads, bookmarks.

    pip install reportlab zstandard
    python make_factbook_pdf.py countries.jsonl.zst world-factbook.pdf

The input has one JSON object a line with `title` (the country) and `document`: blocks separated by blank lines,
of which the first is the country's name, those without a full stop are section headings, and all others are
entries ("Capital. name: …"). The same input always gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import zstandard
from reportlab import rl_config
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)
from reportlab.platypus.tableofcontents import TableOfContents

# In alphabetical order; none of them is among the reports that the default model's reader was trained on.
COUNTRIES = ("Estonia", "Iceland", "Ireland", "Jamaica", "Norway")
TITLE = "The World Factbook: Five Countries"
PAGE = (129 * mm, 198 * mm)
MARGIN = 16 * mm

BOOK_TITLE = ParagraphStyle("book", fontName="Times-Bold", fontSize=26, leading=32, alignment=TA_CENTER)
BOOK_NOTE = ParagraphStyle("note", fontName="Times-Roman", fontSize=11, leading=15, alignment=TA_CENTER)
COUNTRY = ParagraphStyle("country", fontName="Times-Bold", fontSize=20, leading=24, spaceAfter=10, keepWithNext=1)
SECTION = ParagraphStyle(
    "section", fontName="Times-Bold", fontSize=13, leading=16, spaceBefore=10, spaceAfter=6, keepWithNext=1
)
ENTRY = ParagraphStyle(
    "entry", fontName="Times-Roman", fontSize=11, leading=14, spaceAfter=6, allowWidows=0, allowOrphans=0
)


class Book(BaseDocTemplate):
    """A document whose countries and sections go into the bookmarks, and whose countries go into the contents."""

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - reportlab's name
        """Called by reportlab when `flowable` has found its place."""
        style = getattr(flowable, "style", None)
        if style not in (COUNTRY, SECTION):
            return
        text = flowable.getPlainText()
        key = f"entry-{self.seq.nextf('bookmark')}"
        level = 0 if style is COUNTRY else 1
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level, closed=1)
        if style is COUNTRY:
            self.notify("TOCEntry", (0, text, self.page, key))


class ContentsLine(Flowable):
    """A name at the left and a page number at the right, drawn in this order, which is that of their text."""

    def __init__(self, name: str, page: int, key: str) -> None:
        super().__init__()
        self.name, self.page, self.key = name, str(page), key

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Take the whole width."""
        self.width, self.height = width, 14.0
        return self.width, self.height

    def draw(self) -> None:
        """Draw the line, linked to its page."""
        self.canv.setFont("Times-Roman", 11)
        self.canv.drawString(0, 2, self.name)
        self.canv.drawRightString(self.width, 2, self.page)
        self.canv.linkRect("", self.key, (0, 0, self.width, self.height), relative=1)


class Contents(TableOfContents):
    """A table of contents of `ContentsLine`s."""

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Lay out the entries that the previous pass has found."""
        lines = [[ContentsLine(name, page, key)] for _, name, page, key in self._lastEntries]
        self._table = Table(lines or [[""]], colWidths=[width], style=[("LEFTPADDING", (0, 0), (-1, -1), 0)])
        self.width, self.height = self._table.wrapOn(self.canv, width, height)
        return self.width, self.height


def read_reports(path: Path) -> dict[str, str]:
    """The reports of `COUNTRIES` by title."""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file)
        rows = map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))
        found = {row["title"]: row["document"] for row in rows if row["title"] in COUNTRIES}
    return {country: found[country] for country in COUNTRIES}


def page_template(name: str, *, head: str = "", numbered: bool = True) -> PageTemplate:
    """A page with a running head, if any, and its number at the foot."""

    def draw_head(canvas: Canvas, book: BaseDocTemplate) -> None:
        if head:
            canvas.setFont("Times-Italic", 9)
            canvas.drawCentredString(PAGE[0] / 2, PAGE[1] - 11 * mm, head)

    def draw_foot(canvas: Canvas, book: BaseDocTemplate) -> None:
        if numbered:
            canvas.setFont("Times-Roman", 9)
            canvas.drawCentredString(PAGE[0] / 2, 9 * mm, str(book.page))

    width, height = PAGE[0] - 2 * MARGIN, PAGE[1] - 2 * MARGIN
    frame = Frame(MARGIN, MARGIN, width, height, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    return PageTemplate(name, [frame], onPage=draw_head, onPageEnd=draw_foot)


def front_matter() -> Iterator[Flowable]:
    """Title page and contents."""
    yield Spacer(1, 40 * mm)
    yield Paragraph("The World Factbook", BOOK_TITLE)
    yield Paragraph("Five Countries", BOOK_NOTE)
    yield Spacer(1, 60 * mm)
    yield Paragraph("Central Intelligence Agency<br/>In the public domain", BOOK_NOTE)
    yield NextPageTemplate("contents")
    yield PageBreak()
    yield Paragraph("Contents", COUNTRY.clone("contents-title"))
    yield Contents()


def report(country: str, document: str) -> Iterator[Flowable]:
    """One country, from a new page on."""
    yield NextPageTemplate([f"{country}: opening", f"{country}: body"])
    yield PageBreak()
    yield NextPageTemplate(f"{country}: body")
    yield Paragraph(escape(country), COUNTRY)
    for block in document.split("\n\n")[1:]:
        name, stop, content = block.strip().replace("\xa0", " ").partition(". ")
        if stop:
            lines = "<br/>".join(escape(line.strip()) for line in content.split("\n"))
            yield Paragraph(f"<b>{escape(name)}.</b> {lines}", ENTRY)
        elif name:
            yield Paragraph(escape(name), SECTION)


def main() -> None:
    """Read the command line and write the book."""
    parser = argparse.ArgumentParser(description="Typeset country reports as a PDF.")
    parser.add_argument("reports", type=Path, help="countries.jsonl.zst")
    parser.add_argument("pdf", type=Path, help="file to write")
    arguments = parser.parse_args()

    rl_config.useA85 = 0  # plain binary streams: a fifth smaller
    book = Book(
        str(arguments.pdf),
        pagesize=PAGE,
        title=TITLE,
        author="Central Intelligence Agency",
        subject="Country reports; in the public domain",
        invariant=1,
        pageCompression=1,
    )
    templates = [page_template("title", numbered=False), page_template("contents")]
    story = list(front_matter())
    for country, document in read_reports(arguments.reports).items():
        templates += [page_template(f"{country}: opening"), page_template(f"{country}: body", head=country)]
        story += report(country, document)
    book.addPageTemplates(templates)
    book.multiBuild(story)


if __name__ == "__main__":
    main()

"""Documents without pages of their own (web pages, EPUB, Word): paragraphs, cut into pages at headings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.text import headings
from beacon_cli.documents.text.headings import LONGEST_HEADING
from beacon_cli.documents.text.prose import clean, one_line
from beacon_cli.documents.text.slicing import slices

# Pages that are longer than paper can hold are not those of the document: it was never laid out.
_LONGEST_PAGE = 10_000


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, a row of a table or list, or a heading of a `level` from 1 (0: no heading); form feeds end pages."""

    text: str
    level: int = 0
    is_row: bool = False


@dataclass(frozen=True)
class Part:
    """A chapter, which begins on a page of its own; its headings stand under its title."""

    paragraphs: Sequence[Paragraph]
    title: str | None = None


def paged(parts: Sequence[Part], title: str | None, notes: Sequence[str] = ()) -> WholeFile:
    """A document of these parts: on the pages that it was laid out on if it tells them, else one begins with every
    heading that follows text."""
    pages = [page for part in parts for page in _pages(part)]
    return WholeFile(pages, one_line(title or "", LONGEST_HEADING) or None, notes)


def _pages(part: Part) -> list[tuple[str | None, str]]:
    above = headings.under((), 0, part.title or "")
    paragraphs = [replace(paragraph, text=clean(paragraph.text)) for paragraph in part.paragraphs]
    if any("\f" in paragraph.text for paragraph in paragraphs):
        pages = list(_laid_out(paragraphs, above))
        if all(len(text) <= _LONGEST_PAGE for _, text in pages):
            return pages
        paragraphs = [replace(paragraph, text=paragraph.text.replace("\f", "\n")) for paragraph in paragraphs]
    return list(_by_headings(paragraphs, above))


def _laid_out(paragraphs: Sequence[Paragraph], path: headings.Path) -> Iterator[tuple[str | None, str]]:
    """Pages as (section, text); form feeds end them."""
    section, gathered, is_empty = headings.section(path), list[Paragraph](), True
    for paragraph in paragraphs:
        path = _under(path, paragraph)
        if paragraph.level and is_empty:
            section = headings.section(path)
        first, *others = paragraph.text.split("\f")
        gathered.append(replace(paragraph, text=first))
        is_empty = is_empty and not first
        for text in others:
            yield section, _joined(gathered)
            section, gathered, is_empty = headings.section(path), [replace(paragraph, text=text)], not text
    if last := _joined(gathered):
        yield section, last


def _by_headings(paragraphs: Sequence[Paragraph], path: headings.Path) -> Iterator[tuple[str | None, str]]:
    """Pages as (section, text)."""
    gathered, has_text = list[Paragraph](), False
    for paragraph in [*paragraphs, Paragraph("", level=1)]:
        if paragraph.level and (has_text or not paragraph.text):
            section = headings.section(path)
            yield from ((section, page.strip("\n")) for page in slices(_joined(gathered)) if page.strip())
            gathered, has_text = [], False
        path = _under(path, paragraph)
        gathered.append(paragraph)
        has_text = has_text or not paragraph.level


def _under(path: headings.Path, paragraph: Paragraph) -> headings.Path:
    return headings.under(path, paragraph.level, paragraph.text) if paragraph.level else path


def _joined(paragraphs: Sequence[Paragraph]) -> str:
    """Rows a line each, everything else with a blank line between."""
    text, before = list[str](), None
    for paragraph in paragraphs:
        if not paragraph.text.strip():
            continue
        if before is not None:
            text.append("\n" if paragraph.is_row and before.is_row else "\n\n")
        text.append(paragraph.text.strip("\n").rstrip())
        before = paragraph
    return "".join(text)

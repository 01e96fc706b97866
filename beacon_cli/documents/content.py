"""What the reader of any kind of document makes of its bytes: pages of text, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["pdf", "text", "markdown", "html", "epub", "docx"]
Outcome = Literal["text", "mapped", "recognized", "blank", "drawn", "scanned", "garbled", "damaged", "lost"]


@dataclass(frozen=True)
class PageContent:
    """One page's text, and what it means if there is none.

    mapped: it has text, which tables had to tell as its fonts do not. recognized: OCR has read its images. blank:
    nothing is on it. drawn: something is, but no text. scanned: an image. garbled: nothing tells which letters its
    fonts draw. damaged: it cannot be read. lost: reading it took more time or memory than there is, or crashed. `cut`
    tells that the text was too long.
    """

    text: str
    outcome: Outcome
    cut: bool = False


@dataclass(frozen=True)
class Extras:
    """What helps to cite a document and is not worth failing for.

    `labels` and `sections` (bookmarks, headings) have one entry a page, or none at all; `notes` are one-line remarks.
    """

    labels: tuple[str, ...] = ()
    sections: tuple[str | None, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningHead:
    """A line that stands at the edge of many pages, its digits replaced by `#`.

    With an `offset`, one of its numbers is that of the page plus `offset`. It stays on page `first` (0: on none).
    """

    pattern: str
    offset: int | None
    first: int


class DocumentFile(Protocol):
    """An open document. Its methods handle every error themselves but `MemoryError`."""

    page_count: int
    title: str | None

    def has_text(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """False if it is plain without extraction that no page in `ranges` has text."""

    def extras(self) -> Extras:
        """Labels, sections and notes."""

    def page(self, number: int, running: Sequence[RunningHead]) -> PageContent:
        """Page `number`, from 1, without the lines of `running` heads at its edges."""

    def edges(self, number: int) -> tuple[str, ...]:
        """The first and last lines of page `number`, where running heads would be."""


class WholeFile:
    """A document whose pages are all there once it is open: (section, text) each. It has no running heads."""

    def __init__(
        self, pages: Sequence[tuple[str | None, str]], title: str | None = None, notes: Sequence[str] = ()
    ) -> None:
        self.page_count = len(pages)
        self.title = title
        self._pages = pages
        self._notes = tuple(notes)

    def has_text(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """Whether any page in `ranges` has text."""
        return any(text.strip() for first, last in ranges for _, text in self._pages[first - 1 : last])

    def extras(self) -> Extras:
        """Headings as sections."""
        return Extras(sections=tuple(section for section, _ in self._pages), notes=self._notes)

    def page(self, number: int, running: Sequence[RunningHead]) -> PageContent:
        """Page `number`, from 1."""
        text = self._pages[number - 1][1]
        return PageContent(text, "text" if text.strip() else "blank")

    def edges(self, number: int) -> tuple[str, ...]:
        """Nothing."""
        return ()

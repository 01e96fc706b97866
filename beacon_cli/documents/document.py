"""What a document is to the rest of the tool: where it came from, and pages of text, one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from beacon_cli.documents.raw import RawFile
from beacon_cli.documents.selection import PageSelection
from beacon_cli.quantities import counted

Kind = Literal["pdf", "text", "markdown", "html", "epub", "docx"]


@dataclass(frozen=True)
class Page:
    """One page.

    `number` counts from 1; `label` is what the PDF prints on it where that differs ("iv"); `section` is the bookmark
    or heading that it stands under, with those above it ("Iceland › Geography"), where there are any.
    """

    number: int
    label: str | None
    text: str
    section: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a document came from. `size` is in bytes; `sha256` (hex) is that of the bytes, not of the text.

    `path` is absolute, and None for standard input (whose `name` is "stdin") and pipes.
    """

    name: str
    path: str | None
    size: int
    sha256: str
    title: str | None
    page_count: int
    kind: Kind


class Document(ABC):
    """An open document; close it, or use it in a `with`.

    `selection` is already cut to the pages that exist, so that "1-" and "1-40" of 40 pages are the same.
    `warnings`, always the same list, holds one-line remarks on the pages read, complete once `pages` has been read to
    its end.
    """

    def __init__(self, source: Source, selection: PageSelection) -> None:
        self.source = source
        self.selection = selection
        self.warnings: list[str] = []

    @abstractmethod
    def pages(self) -> Iterator[Page]:
        """Yield the selected pages in order, those without text included; `DocumentError` if none has any."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and processes, also of those of an unfinished `pages`. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def existing(raw: RawFile, selection: PageSelection, page_count: int) -> PageSelection:
    """The part of `selection` that the document has; `DocumentError` if it has none of it."""
    clipped = selection.clipped(page_count)
    if not clipped.ranges:
        raise raw.error(
            f"has {counted(page_count, 'page')}, and --pages {selection.canonical} is beyond them: select some of these"
        )
    return clipped

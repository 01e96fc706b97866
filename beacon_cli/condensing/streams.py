"""From a document's pages to its token stream, page by page."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from beacon_cli.cache import Entry, PageText
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.documents import Document
from beacon_cli.events import Event, PageRead, Reading

PAGE_END = "\n\n"


class _Page(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def label(self) -> str | None: ...
    @property
    def text(self) -> str: ...
    @property
    def section(self) -> str | None: ...


@dataclass
class Stream:
    """The token stream of a document as far as it has been read, and what reads on.

    Attributes:
        ids: token ids, the prompt's opening first.
        pages: whose text they are.
        rest: reads the next page into both with every step.
        warnings: remarks on the pages, complete when all are read.
    """

    ids: list[int]
    pages: list[PageText] = field(default_factory=list)
    rest: Iterator[PageRead] = field(default_factory=lambda: iter(()))
    warnings: list[str] = field(default_factory=list)


def document_stream(source: ModelSource, frame: Frame, document: Document) -> Stream:
    """The stream of a document that is open, nothing of it read yet."""
    return _stream(source, frame, document.pages(), document.warnings)


def stored_stream(source: ModelSource, frame: Frame, entry: Entry) -> Stream:
    """The stream of a document that a complete cache has the text of, nothing of it read yet.

    Its first step raises CacheError if the cache is damaged.
    """

    warnings: list[str] = []

    def pages() -> Iterator[PageText]:
        yield from entry.pages()
        manifest = entry.manifest()
        warnings.extend(manifest.warnings if manifest is not None else ())

    return _stream(source, frame, pages(), warnings)


def read_all(document: Document, stream: Stream) -> Generator[Event, None, None]:
    """Read a stream to its end."""
    yield reading(document, stream)
    yield from stream.rest


def reading(document: Document, stream: Stream, condensed: int = 0) -> Reading:
    """The event with which reading begins; `condensed` tokens are condensed already."""
    pages = sum(1 for _ in document.selection.numbers())
    return Reading(document.source.name, pages, len(stream.pages), len(stream.ids), condensed)


def _stream(source: ModelSource, frame: Frame, pages: Iterable[_Page], warnings: list[str]) -> Stream:
    stream = Stream(list(frame.opening), warnings=warnings)
    stream.rest = _read(source, pages, stream)
    return stream


def _read(source: ModelSource, pages: Iterable[_Page], stream: Stream) -> Iterator[PageRead]:
    for page in pages:
        first = len(stream.ids)
        stream.ids += source.tokenizer.encode(page.text + PAGE_END)
        label = str(page.number) if page.label is None else page.label
        stream.pages.append(PageText(page.number, label, page.text, first, len(stream.ids), page.section))
        yield PageRead(len(stream.pages), len(stream.ids))

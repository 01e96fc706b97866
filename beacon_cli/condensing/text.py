"""From a document's pages to its tokens, page by page."""

from collections.abc import Iterable, Iterator
from typing import Protocol, Self

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.stored import StoredDocument
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.documents import Document
from beacon_cli.events import PageRead, Progress, Reading, silent

# Between two pages. Nothing stands after the last: what follows a document begins with a break of its own.
PAGE_BREAK = "\n\n"


def page_texts(pages: Iterable[str]) -> Iterator[str]:
    """What is encoded of each page, one by one: its text, after a break unless it is the first."""
    for number, page in enumerate(pages):
        yield PAGE_BREAK + page if number else page


class _Page(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def label(self) -> str | None: ...
    @property
    def text(self) -> str: ...
    @property
    def section(self) -> str | None: ...


class TokenStream:
    """The tokens of a document as far as its pages have been read.

    Args:
        pages: of the document, from itself or from a cache.
        warnings: remarks on the pages, complete when all have been read.

    Attributes:
        ids: token ids, the prompt's opening first.
        pages: whose text they are.
    """

    def __init__(self, source: ModelSource, pages: Iterable[_Page], warnings: list[str]) -> None:
        self.ids: list[int] = list(source.frame.opening)
        self.pages: list[PageText] = []
        self.warnings = warnings
        self._tokenizer, self._rest = source.tokenizer, iter(pages)

    def read_page(self, progress: Progress = silent) -> bool:
        """Read one more page; False if there was none."""
        page = next(self._rest, None)
        if page is None:
            return False
        first = len(self.ids)
        self.ids += self._tokenizer.encode((PAGE_BREAK if self.pages else "") + page.text)
        label = str(page.number) if page.label is None else page.label
        self.pages.append(PageText(page.number, label, page.text, first, len(self.ids), page.section))
        progress(PageRead(len(self.pages), len(self.ids)))
        return True

    def read_all(self, progress: Progress = silent) -> Self:
        """Read all pages that are left."""
        while self.read_page(progress):
            pass
        return self


def document_stream(source: ModelSource, document: Document | StoredDocument) -> TokenStream:
    """The stream of a document that is open, nothing of it read yet."""
    return TokenStream(source, document.pages(), document.warnings)


def stored_stream(source: ModelSource, entry: Entry) -> TokenStream:
    """The stream of a document that a complete cache has the text of, nothing of it read yet.

    Its first page raises CacheError if the cache is damaged.
    """
    warnings: list[str] = []

    def pages() -> Iterator[PageText]:
        yield from entry.pages()
        manifest = entry.manifest()
        warnings.extend(manifest.warnings if manifest is not None else ())

    return TokenStream(source, pages(), warnings)


def reading(document: Document | StoredDocument, stream: TokenStream, condensed: int = 0) -> Reading:
    """The event with which reading begins; `condensed` tokens are condensed already."""
    pages = sum(1 for _ in document.selection.numbers())
    return Reading(document.source.name, pages, len(stream.pages), len(stream.ids), condensed)

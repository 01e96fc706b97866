"""The text of documents without a model: searched, quoted, and summarized by its own sentences."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from beacon_cli.answering import extract
from beacon_cli.answering.extract import Section
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.search_file import IndexedText, index_of
from beacon_cli.cache.origin import has_own_text
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.store import Store, default_root
from beacon_cli.documents import TEXT_VERSION, Document, PageSelection, open_document
from beacon_cli.documents.finding import Documents, Place, find_documents, paths_of
from beacon_cli.errors import CacheError, DocumentError
from beacon_cli.events import Note, Progress, Stage, silent
from beacon_cli.quantities import counted


@dataclass(frozen=True)
class Texts:
    """Documents that were read.

    Attributes:
        documents: name, pages and file of each.
        warnings: one-line remarks on pages that could not be read as they should.
    """

    documents: tuple[IndexedText, ...]
    warnings: tuple[str, ...] = ()

    def find(self, words: str, count: int = 5) -> list[Passage]:
        """The passages that share most with `words`, the best first."""
        return self.index.find(words, count)

    def marked(self, text: str, words: str) -> list[tuple[int, int]]:
        """Where in `text` the words stand, in whatever form: the first character of each stretch, and its end."""
        return self.index.marked(text, words)

    def summarize(self, length: int = 150, *, by_section: bool = False) -> list[Section]:
        """The sentences of each document that say most, about `length` words; no model takes part.

        Args:
            by_section: for each of its sections.
        """
        made: list[Section] = []
        for text in self.documents:
            if by_section:
                made += extract.sections(text.name, text.pages, self.index.terms, length)
            else:
                found = extract.summarize(text.name, text.pages, self.index.terms, length)
                made.append(Section(text.name, None, tuple(found)))
        return made

    @cached_property
    def index(self) -> SearchIndex:
        """The search index of all of them; see `search_file`."""
        return index_of(self.documents)


def open_texts(
    documents: Documents,
    *,
    pages: str | None = None,
    password: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache: bool = True,
    progress: Progress = silent,
) -> Texts:
    """Read documents without a model, to search in them; nothing is written but what speeds up the next search.

    Args:
        documents: paths of files, of folders (all documents in them) or patterns; "-" is standard input.
        pages: which pages to read, like "1-50,60-"; None reads all.
        password: of encrypted PDFs.
        cache_dir: where condensed documents are kept, whose text is there already; by default `BEACON_CACHE_DIR`, else
            the user's cache folder.
        cache: whether to look there.

    Raises:
        BeaconError: for whatever the caller can act on: see its subclasses in `beacon_cli.errors`.
    """
    root = default_root() if cache_dir is None else Path(cache_dir).expanduser().absolute()
    store = Store(root) if cache and root.is_dir() else None
    selection = None if pages is None else PageSelection.parse(pages)
    places = find_documents(paths_of(documents))
    return read_texts(places, store, pages=selection, password=password, progress=progress)


def read_texts(
    places: Sequence[Place],
    store: Store | None,
    *,
    pages: PageSelection | None = None,
    password: str | None = None,
    progress: Progress = silent,
) -> Texts:
    """Read documents, out of the cache where one of any model has their text.

    Raises:
        DocumentError: if one that was named, or all of a folder, cannot be read.
    """
    found: dict[tuple[str, str], tuple[str, IndexedText]] = {}
    warnings: list[str] = []
    for place in places:
        try:
            with open_document(place.path, password=password, pages=pages, text=place.text) as document:
                key = document.source.sha256, document.selection.canonical
                if key not in found:
                    found[key] = place.path, _text(document, store, warnings, progress)
        except DocumentError as error:
            if place.folder is None:
                raise
            progress(Note(f"left out: {error}"))
    if not found:
        raise DocumentError(
            f"{places[0].folder}: {counted(len(places), 'document')} in this directory, and none can be read: "
            "`beacon inspect` says why"
        )
    times = Counter(text.name for _, text in found.values())
    named = (text if times[text.name] == 1 else replace(text, name=path) for path, text in found.values())
    return Texts(tuple(named), tuple(warnings))


def _text(document: Document, store: Store | None, warnings: list[str], progress: Progress) -> IndexedText:
    source = document.source
    for summary in store.entries() if store is not None else ():
        manifest = summary.manifest
        if manifest is None or not manifest.complete or manifest.subject.identity.text_version != TEXT_VERSION:
            continue
        if not has_own_text(summary.entry.origin(), manifest):
            continue  # imported, and not proven to be the document's
        about = manifest.subject.document
        if (about.sha256, about.selection) == (source.sha256, document.selection.canonical):
            try:
                pages = summary.entry.pages()
            except CacheError:
                continue
            warnings.extend(manifest.warnings)
            return IndexedText(source.name, pages, source.path, summary.entry.folder)
    progress(Stage(f"reading {source.name}"))
    read = tuple(
        PageText(page.number, str(page.number) if page.label is None else page.label, page.text, 0, 0, page.section)
        for page in document.pages()
    )
    warnings.extend(document.warnings)
    return IndexedText(source.name, read, source.path, None)

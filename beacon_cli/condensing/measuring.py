"""What is to be read: documents opened and their text known, and the ratio at which their memory will do."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identities import entry_of
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.origin import has_own_text
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.store import Store
from beacon_cli.cache.stored import StoredDocument
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.condensing import ratio as ratios
from beacon_cli.condensing.placing import name_text
from beacon_cli.condensing.stem import Stem
from beacon_cli.condensing.text import TokenStream, document_stream, reading, stored_stream
from beacon_cli.documents import Document, PageSelection, open_document
from beacon_cli.documents.finding import Place
from beacon_cli.errors import CacheError, DocumentError
from beacon_cli.events import Note, Progress, Stage
from beacon_cli.quantities import counted

# Bytes of a document that takes seconds to open.
_LARGE = 4 << 20


@dataclass(frozen=True)
class Request:
    """What to read, and how.

    Attributes:
        ratio: condensing ratio; None takes the smallest that fits.
        needed: positions that a question and its answer will take.
        pages: which pages to read; None reads all.
        password: of encrypted PDFs.
        refresh: condense anew whatever the cache has.
        whole: all of the memory will be asked at once, not parts that a question recalls.
        stem: what texts that begin alike share where there is no cache; None shares nothing.
    """

    ratio: int | None = None
    needed: int = 0
    pages: PageSelection | None = None
    password: str | None = None
    refresh: bool = False
    whole: bool = False
    stem: Stem | None = None


@dataclass(frozen=True)
class Text:
    """A document and its text: all of it (`tokens` says how much), or, with None for `tokens`, as it will be read."""

    path: str
    document: Document | StoredDocument
    stream: TokenStream
    tokens: int | None
    entry: Entry | None = None  # where the cache has it

    @property
    def pages(self) -> Sequence[PageText]:
        """Of a text that is known."""
        return self.stream.pages if self.entry is None else self.entry.pages()

    @property
    def folder(self) -> Path | None:
        """Of a cache that has it, of whatever ratio."""
        entry = self.document.entry if isinstance(self.document, StoredDocument) else self.entry
        return None if entry is None else entry.folder

    @property
    def file(self) -> str | None:
        """Where the document lies; None if it is no file."""
        return self.document.source.path


@dataclass(frozen=True)
class Measured:
    """Documents that fit.

    Attributes:
        names: what each is called among the others.
        texts: of each.
        ratios: at which each is to be condensed: the same for all, unless questions recall parts of them.
        at_once: whether their memories fit the model at once. (Of one, whose text may not be known, its memory tells.)
    """

    names: Sequence[str]
    texts: Sequence[Text]
    ratios: Sequence[int]
    at_once: bool

    @property
    def ratio(self) -> int:
        """The largest of the ratios."""
        return max(self.ratios)


class Measuring:
    """Opens documents, and finds out what their memory will take.

    Args:
        source: the model.
        store: where memories are kept; without one, nothing of a document is written to disk.
        request: what is wanted of them; `measure` adds the ratio of what is taken from the cache without its document.

    Attributes:
        seconds: spent so far on reading what must be read before the ratio is known.
    """

    def __init__(self, source: ModelSource, store: Store | None, request: Request, progress: Progress) -> None:
        self.source, self.store, self.request, self.progress = source, store, request, progress
        self.seconds = 0.0

    @property
    def recalls(self) -> bool:
        """Whether a question will be asked after parts of the memory, so that not all of it must fit."""
        return not self.request.whole and self.source.info is None

    @property
    def room(self) -> int:
        """Rows of memory beside which there is room for a question."""
        return ratios.room(self.source, self.request.needed)

    def measure(self, places: Sequence[Place], *, ahead: bool = True) -> Measured:
        """Open documents, each once, and find out at which ratio they fit; what of a folder cannot be read is left out.

        Args:
            ahead: read all text, to know it before anything is condensed; else a single document that is condensed at
                the request's ratio is left open, and read as it is condensed.

        Raises:
            DocumentError: if one that was named, or all of a folder, cannot be read, or if they are too long.
            CacheError: if what is named by its key cannot be taken from the cache.
        """
        began = time.perf_counter()
        self.request = self._as_stored(places)
        found: dict[tuple[str, str], tuple[Place, Text]] = {}
        for place in places:
            try:
                document = self._open(place)
                if not ahead and len(places) == 1 and place.folder is None and self.request.ratio is not None:
                    text = Text(place.path, document, document_stream(self.source, document), None)
                    return self._measured([text], [self.request.ratio], began)
                with document:
                    key = (document.source.sha256, document.selection.canonical)
                    if key in found:
                        first = found[key][0].path
                        self.progress(Note(f"{place.path} is the same document as {first}; it is read once"))
                        continue
                    found[key] = place, self._measure(place, document)
            except DocumentError as error:
                if place.folder is None:
                    raise
                self.progress(Note(f"left out: {error}"))
                continue
            if not self.recalls:
                self._fitting_ratio([text for _, text in found.values()], len(places))
        if not found:
            raise DocumentError(
                f"{places[0].folder}: {counted(len(places), 'document')} in this directory, and none can be read: "
                "`beacon inspect` says why"
            )
        texts = [text for _, text in found.values()]
        chosen = self._ratios(texts, len(places))
        if self.request.ratio is None and (note := ratios.keeps_little(self.source, max(chosen))):
            self.progress(Note(note))
        return self._measured(texts, chosen, began)

    def complete(self, document: Document, ratio: int) -> tuple[Entry, Manifest] | None:
        """A complete cache that has the document's own text, with its durable state; None if there is none to use."""
        if self.store is None or self.request.refresh:
            return None
        entry = entry_of(self.source, document, ratio, self.store)
        manifest = entry.complete_manifest()  # one that is malformed is told of if it is to be used in the end
        return (entry, manifest) if manifest is not None and has_own_text(entry.origin(), manifest) else None

    def again(self, text: Text) -> Text:
        """A text whose memory has left the cache meanwhile; where the text itself was there, its document's, read anew.

        Raises:
            CacheError: if that has changed meanwhile.
        """
        if text.entry is None or isinstance(text.document, StoredDocument):
            return text
        place = Place(text.path)
        with self._open(place) as document:
            if document.source.sha256 != text.document.source.sha256:
                raise CacheError(f"{text.path} has changed, and what was read has left the cache: read it again")
            return self._measure(place, document)

    def _measured(self, texts: Sequence[Text], chosen: Sequence[int], began: float) -> Measured:
        before, last, needed = self._taking(texts)
        rows = sum(map(partial(ratios.rows_ended, self.source), before, chosen[:-1]))
        rows += ratios.rows_needed(self.source, last, chosen[-1])
        self.seconds += time.perf_counter() - began
        return Measured(self._names(texts), texts, chosen, rows <= ratios.room(self.source, needed))

    def _as_stored(self, places: Sequence[Place]) -> Request:
        """The request, with the ratio of what is taken from the cache without its document if all must have one."""
        request = self.request
        stored = [self._stored(place.key) for place in places if place.key is not None]
        for each in stored:
            if request.ratio not in (None, each.ratio):
                raise CacheError(
                    f"cache {each.entry.key} is condensed at ratio {each.ratio}, and cannot be read at ratio "
                    f"{request.ratio} without its document"
                )
            if not self.recalls:
                request = replace(request, ratio=each.ratio)
        return request

    def _stored(self, key: str) -> StoredDocument:
        if self.store is None or self.request.refresh or self.request.pages is not None:
            raise CacheError(
                f"{key} is what the cache has of a document, and is read as it is: name the document itself, or leave "
                "--no-cache, --refresh and --pages out"
            )
        return StoredDocument.of(self.store.entry_of_key(key), self.source)

    def _open(self, place: Place) -> Document | StoredDocument:
        if place.key is not None:
            return self._stored(place.key)
        request = self.request
        with suppress(OSError):
            if os.stat(place.path).st_size > _LARGE:
                self.progress(Stage(f"opening {os.path.basename(place.path)}"))
        return open_document(place.path, password=request.password, pages=request.pages, text=place.text)

    def _measure(self, place: Place, document: Document | StoredDocument) -> Text:
        """All of a document's text: that of a cache, whatever its ratio, else read now."""
        if isinstance(document, Document):
            complete = (self.complete(document, ratio) for ratio in self.source.ratios)
            for entry, manifest in filter(None, complete):
                stream = stored_stream(self.source, entry)
                if self.store is not None and self.store.limit is not None:
                    # Making room for one document must not take away the text of another.
                    stream.read_all()
                return Text(place.path, document, stream, manifest.tokens, entry)
        stream = document_stream(self.source, document)
        self.progress(reading(document, stream))
        stream.read_all(self.progress)
        return Text(place.path, document, stream, len(stream.ids))

    def _names(self, texts: Sequence[Text]) -> list[str]:
        """What each document is called among the others: its name, or its path where two have one name."""
        names = [text.document.source.name for text in texts]
        times = Counter(names)
        return [name if times[name] == 1 else text.path for name, text in zip(names, texts, strict=True)]

    def _ratios(self, texts: Sequence[Text], number: int) -> Sequence[int]:
        """At which ratio each is condensed: if questions recall parts, that which it has alone, so that what the cache
        keeps of it serves in any company.

        Raises:
            DocumentError: see `_fitting_ratio`.
        """
        request, source = self.request, self.source
        if not (self.recalls and ratios.fits(source, 0, 1, request.needed)):
            return [self._fitting_ratio(texts, number)] * len(texts)
        if request.ratio is not None:
            return [request.ratio] * len(texts)
        return [
            text.document.ratio
            if isinstance(text.document, StoredDocument)
            else ratios.ratio_to_recall(source, text.tokens or 0, request.needed)
            for text in texts
        ]

    def _fitting_ratio(self, texts: Sequence[Text], number: int) -> int:
        """The ratio at which `texts` fit together, which are the first of `number` documents.

        Raises:
            DocumentError: if they do not fit.
        """
        source, request = self.source, self.request
        before, last, needed = self._taking(texts)
        ratio = request.ratio
        if ratio is None:
            ratio = ratios.smallest_ratio(source, last, needed, before)
        if ratio is not None and ratios.fits(source, last, ratio, needed, before):
            return ratio
        largest = ratio if ratio is not None else max(source.ratios)
        if not before or not ratios.fits(source, last, largest, request.needed):
            # It does not fit even alone.
            name, pages = texts[-1].document.source.name, texts[-1].stream.pages
            raise ratios.too_long(source, name, last, request.ratio, request.needed, pages)
        raise ratios.too_long_together(source, [*before, last], number, request.ratio, needed)

    def _taking(self, texts: Sequence[Text]) -> tuple[list[int], int, int]:
        """What texts take together: tokens of all but the last, those of the last, and positions beside them."""
        *before, last = [text.tokens or 0 for text in texts]
        needed = self.request.needed
        if before:
            encode = self.source.tokenizer.encode
            names = sum(len(encode(name_text(name))) for name in self._names(texts))
            needed += len(self.source.frame.opening) + names
        return before, last, needed

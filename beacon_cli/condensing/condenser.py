"""From documents to one memory: out of the cache, or page by page and interval by interval into it."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from activation_beacon import SequenceReader
from beacon_cli.cache.builder import Builder
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.growing import Beginning
from beacon_cli.cache.housekeeping import make_room
from beacon_cli.cache.identities import entry_of, subject_of
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.origin import has_own_text
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.store import Store
from beacon_cli.cache.stored import StoredDocument
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.condensing import ratio as ratios
from beacon_cli.condensing.intervals import condense_intervals
from beacon_cli.condensing.loading import Stored, announce, is_text_of, load, tell
from beacon_cli.condensing.placing import DocumentMemory, Held, Placed, name_text, place_alone, place_together
from beacon_cli.condensing.stem import Stem
from beacon_cli.condensing.text import TokenStream, document_stream, reading, stored_stream
from beacon_cli.documents import Document, PageSelection, open_document
from beacon_cli.documents.finding import Place
from beacon_cli.errors import CacheError, DocumentError
from beacon_cli.events import Condensed, Note, Progress, Stage
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
    """Documents that fit: what each is called among the others, its text, and the ratio at which they do."""

    names: Sequence[str]
    texts: Sequence[Text]
    ratio: int


class Condenser:
    """Brings documents into memory.

    Args:
        source: the model.
        engine: loads its weights; called when it is known that the documents can be read and fit.
        store: where memories are kept; without one, nothing of a document is written to disk.

    Attributes:
        seconds: spent so far, by stage: "open" (reading what must be read before the ratio is known), "load_model".
    """

    def __init__(
        self,
        source: ModelSource,
        engine: Callable[[], Engine],
        store: Store | None,
        request: Request,
        progress: Progress,
    ) -> None:
        self._source, self._engine, self._store = source, engine, store
        self._request, self._progress = request, progress
        self.seconds = {"open": 0.0, "load_model": 0.0}

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
        self._request = self._as_stored(places)
        found: dict[tuple[str, str], tuple[Place, Text]] = {}
        for place in places:
            try:
                document = self._open(place)
                if not ahead and len(places) == 1 and place.folder is None and self._request.ratio is not None:
                    text = Text(place.path, document, document_stream(self._source, document), None)
                    return self._fitting([text], self._request.ratio, began)
                with document:
                    key = (document.source.sha256, document.selection.canonical)
                    if key in found:
                        first = found[key][0].path
                        self._progress(Note(f"{place.path} is the same document as {first}; it is read once"))
                        continue
                    found[key] = place, self._measure(place, document)
            except DocumentError as error:
                if place.folder is None:
                    raise
                self._progress(Note(f"left out: {error}"))
                continue
            if not self._recalls:
                self._fitting_ratio([text for _, text in found.values()], len(places))
        if not found:
            raise DocumentError(
                f"{places[0].folder}: {counted(len(places), 'document')} in this directory, and none can be read: "
                "`beacon inspect` says why"
            )
        texts = [text for _, text in found.values()]
        ratio = self._fitting_ratio(texts, len(places))
        if self._request.ratio is None and (note := ratios.keeps_little(self._source, ratio)):
            self._progress(Note(note))
        return self._fitting(texts, ratio, began)

    def _fitting(self, texts: Sequence[Text], ratio: int, began: float) -> Measured:
        self.seconds["open"] += time.perf_counter() - began
        return Measured(self._names(texts), texts, ratio)

    def read(self, measured: Measured) -> Placed:
        """Bring documents into one memory.

        Raises:
            DocumentError: if one cannot be read, or turns out to be too long.
            CacheError: if the cache cannot be written, read or trusted.
            ModelError: if there are several, and the model's rotary frequencies are not fixed.
        """
        with ExitStack() as opened:
            for text in measured.texts:
                if text.tokens is None:
                    opened.enter_context(text.document)
            loading = time.perf_counter()
            engine = self._engine()
            self.seconds["load_model"] += time.perf_counter() - loading
            several, ratio = len(measured.texts) > 1, measured.ratio
            made = [self._memory(engine, text, ratio, several) for text in measured.texts]
            if several:
                pairs = zip(made, measured.names, strict=True)
                named = [replace(each, summary=replace(each.summary, name=name)) for each, name in pairs]
                return place_together(engine, ratio, named, self._fit(measured.texts, ratio))
            (document,) = made
            return place_alone(document, self._source.info is not None or document.summary.rows <= self._room)

    def kept(self, measured: Measured) -> bool:
        """Whether the cache has all of it, so that `read` would only load that; its figures are then announced."""
        found: list[tuple[Document | StoredDocument, Entry, Manifest]] = []
        for text in measured.texts:
            document = text.document
            if isinstance(document, StoredDocument):
                found.append((document, document.entry, document.manifest))
                continue
            complete = self._complete(document, measured.ratio)
            if complete is None:
                return False
            found.append((document, *complete))
        for document, entry, manifest in found:
            entry.count_use()
            tell(document, entry, manifest, len(entry.pages()), {}, self._progress)
        return True

    def _as_stored(self, places: Sequence[Place]) -> Request:
        """The request, with the ratio of what is to be taken from the cache without its document."""
        request = self._request
        stored = [self._stored(place.key) for place in places if place.key is not None]
        for each in stored:
            ratio = each.manifest.subject.identity.ratio
            if request.ratio not in (None, ratio):
                raise CacheError(
                    f"cache {each.entry.key} is condensed at ratio {ratio}, and cannot be read at ratio "
                    f"{request.ratio} without its document"
                )
            request = replace(request, ratio=ratio)
        return request

    def _stored(self, key: str) -> StoredDocument:
        if self._store is None or self._request.refresh or self._request.pages is not None:
            raise CacheError(
                f"{key} is what the cache has of a document, and is read as it is: name the document itself, or leave "
                "--no-cache, --refresh and --pages out"
            )
        return StoredDocument.of(self._store.entry_of_key(key), self._source)

    def _open(self, place: Place) -> Document | StoredDocument:
        if place.key is not None:
            return self._stored(place.key)
        request = self._request
        with suppress(OSError):
            if os.stat(place.path).st_size > _LARGE:
                self._progress(Stage(f"opening {os.path.basename(place.path)}"))
        return open_document(place.path, password=request.password, pages=request.pages, text=place.text)

    def _measure(self, place: Place, document: Document | StoredDocument) -> Text:
        """All of a document's text: that of a cache, whatever its ratio, else read now."""
        if isinstance(document, Document):
            complete = (self._complete(document, ratio) for ratio in self._source.ratios)
            for entry, manifest in filter(None, complete):
                stream = stored_stream(self._source, entry)
                if self._store is not None and self._store.limit is not None:
                    # Making room for one document must not take away the text of another.
                    stream.read_all()
                return Text(place.path, document, stream, manifest.tokens, entry)
        stream = document_stream(self._source, document)
        self._progress(reading(document, stream))
        stream.read_all(self._progress)
        return Text(place.path, document, stream, len(stream.ids))

    def _complete(self, document: Document, ratio: int) -> tuple[Entry, Manifest] | None:
        """A complete cache that has the document's own text, with its durable state; None if there is none to use."""
        if self._store is None or self._request.refresh:
            return None
        entry = entry_of(self._source, document, ratio, self._store)
        manifest = entry.complete_manifest()  # one that is malformed is told of if it is to be used in the end
        return (entry, manifest) if manifest is not None and has_own_text(entry.origin(), manifest) else None

    def _names(self, texts: Sequence[Text]) -> list[str]:
        """What each document is called among the others: its name, or its path where two have one name."""
        names = [text.document.source.name for text in texts]
        times = Counter(names)
        return [name if times[name] == 1 else text.path for name, text in zip(names, texts, strict=True)]

    def _fitting_ratio(self, texts: Sequence[Text], number: int) -> int:
        """The ratio for `texts`, which are the first of `number` documents.

        Raises:
            DocumentError: if they do not fit.
        """
        source, request = self._source, self._request
        before, last, needed = self._taking(texts)
        ratio = request.ratio
        if self._recalls and ratios.fits(source, 0, 1, request.needed):
            return ratio if ratio is not None else ratios.ratio_to_recall(source, last, needed, before)
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
        needed = self._request.needed
        if before:
            encode = self._source.tokenizer.encode
            names = sum(len(encode(name_text(name))) for name in self._names(texts))
            needed += len(self._source.frame.opening) + names
        return before, last, needed

    def _fit(self, texts: Sequence[Text], ratio: int) -> bool:
        """Whether texts fit together."""
        before, last, needed = self._taking(texts)
        return ratios.fits(self._source, last, ratio, needed, before)

    @property
    def _recalls(self) -> bool:
        """Whether a question will be asked after parts of the memory, so that not all of it must fit."""
        return not self._request.whole and self._source.info is None

    @property
    def _room(self) -> int:
        """Rows of memory beside which there is room for a question."""
        return ratios.room(self._source, self._request.needed)

    def _memory(self, engine: Engine, text: Text, ratio: int, several: bool) -> DocumentMemory:
        """A document's own memory at `ratio`: taken from the cache if it is there, else condensed.

        Args:
            several: whether there are others; each is left in the cache until it is needed.
        """
        document, store = text.document, self._store
        limited = store is not None and store.limit is not None  # room for one is made of others, also of these
        room = (sys.maxsize if limited else 0) if several else self._room
        again = partial(self._once_more, engine, text, ratio, several)
        if isinstance(document, StoredDocument):
            with document.entry.in_use():
                return load(engine, document, document.entry, room, again, self._progress)
        if store is None:
            return self._build(engine, text, ratio, None)[0]
        entry = entry_of(engine.source, document, ratio, store)
        refresh = self._request.refresh
        if not refresh:
            with entry.in_use():
                found = entry.manifest()
                if found is not None and found.complete:
                    if is_text_of(document, text.stream, entry, found, self._progress):
                        return load(engine, document, entry, room, again, self._progress)
                    self._progress(
                        Note(
                            f"{document.source.name}: what was imported for it is not its text; it is not used, and "
                            "the document is condensed here in its place"
                        )
                    )
                    refresh = True
        builder = entry.builder(subject_of(engine, document, ratio, store.bits), refresh=refresh)
        if not builder.try_lock():
            self._progress(Note(f"another process is condensing {document.source.name}; waiting for it"))
        began_empty = False
        try:
            with builder:
                if builder.manifest.complete:
                    if not is_text_of(document, text.stream, entry, builder.manifest, self._progress):
                        raise CacheError(f"{entry.folder} was imported meanwhile; run the same command again")
                    return load(engine, document, entry, room, again, self._progress)
                began_empty = entry.manifest() is None
                made, held = self._build(engine, text, ratio, builder)
                if not held.complete or made.summary.rows > room:
                    made = replace(made, memory=Stored(engine, entry, builder.manifest, again))
                if limited and several:
                    made.memory.whole()
        except DocumentError:
            # A document that turns out to be unreadable, or too long, leaves the cache as it was.
            if began_empty:
                store.remove(entry)
            raise
        make_room(store, entry, self._progress)
        return made

    def _once_more(self, engine: Engine, text: Text, ratio: int, several: bool) -> DocumentMemory:
        """The memory of a document that was in the cache, and is not any more; its text may have been there, too.

        Raises:
            CacheError: if the document has changed meanwhile.
        """
        if text.entry is None or isinstance(text.document, StoredDocument):
            return self._memory(engine, text, ratio, several)
        place = Place(text.path)
        with self._open(place) as document:
            if document.source.sha256 != text.document.source.sha256:
                raise CacheError(f"{text.path} has changed, and what was read has left the cache: read it again")
            return self._memory(engine, self._measure(place, document), ratio, several)

    def _build(self, engine: Engine, text: Text, ratio: int, builder: Builder | None) -> tuple[DocumentMemory, Held]:
        """Condense a document as its pages come; goes on after what is condensed already.

        Args:
            builder: within its context; None keeps nothing.
        """
        began = time.perf_counter()
        stream, name = text.stream, text.document.source.name
        beginning = Beginning(builder, None if self._request.refresh else self._store)
        stem = self._request.stem if builder is None else None
        self._progress(reading(text.document, stream))
        reader: SequenceReader | None = None
        resumed = 0
        for ended in self._pages(text, ratio):
            if reader is None:
                if (stem or beginning).needs_more(stream.ids) and not ended:
                    continue
                reader = (stem or beginning).reader(engine, ratio, stream.ids)
                resumed = reader.consumed
                for note in beginning.notes:
                    self._progress(Note(note))
                self._progress(reading(text.document, stream, resumed))
            condense_intervals(reader, stream.ids, ratio, builder or stem, self._progress)
        if reader is None:
            raise RuntimeError("a document ended without a last page")  # _pages always says that it ended
        tail = stream.ids[reader.consumed :]
        if builder is not None:
            builder.finish(tail, stream.pages, stream.warnings)
        if beginning.taken is not None:
            self._progress(Note(f"{name}: {resumed:,} of its {len(stream.ids):,} tokens were condensed before"))
            beginning.discard_superseded()
        summary = Condensed(
            name=name,
            tokens=len(stream.ids),
            rows=reader.memory.size + len(tail),
            ratio=ratio,
            condensed_now=reader.consumed - resumed,
            pages=len(stream.pages),
            cache_path=None if builder is None else str(builder.folder),
            warnings=tuple(stream.warnings),
            seconds={"condense": time.perf_counter() - began},
            path=text.document.source.path,
        )
        announce(summary, self._progress)
        held = Held(reader)
        return DocumentMemory(stream.pages, summary, held, tail), held

    def _pages(self, text: Text, ratio: int) -> Iterator[bool]:
        """Read page after page; yields after each, and once more, True, after the last.

        Raises:
            DocumentError: as soon as what has been read is too long, whatever comes.
        """
        fitting = not self._recalls
        stream, source, needed = text.stream, self._source, self._request.needed
        ended = False
        while not ended:
            ended = not stream.read_page(self._progress)
            # An interval that has begun takes more room than it will when it ends.
            begun = 0 if ended else len(stream.ids) % source.window
            if fitting and not ratios.fits(source, len(stream.ids) - begun, ratio, needed):
                name = text.document.source.name
                raise ratios.too_long(source, name, len(stream.ids), ratio, needed, stream.pages)
            yield ended

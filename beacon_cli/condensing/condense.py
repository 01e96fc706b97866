"""From a document to its memory: out of the cache, or page by page and interval by interval into it."""

import time
from collections.abc import Generator
from dataclasses import dataclass

from activation_beacon.reader import Reader
from beacon_cli.cache import Builder, Entry, PageText, Store
from beacon_cli.cache.growing import Beginning, restored
from beacon_cli.cache.housekeeping import make_room
from beacon_cli.cache.identities import entry_of, subject_of
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.condensing import budget
from beacon_cli.condensing.intervals import condense_intervals
from beacon_cli.condensing.streams import Stream, document_stream, read_all, reading, stored_stream
from beacon_cli.documents import Document
from beacon_cli.errors import DocumentError
from beacon_cli.events import Condensed, Event, Note


@dataclass(frozen=True)
class DocumentText:
    """What a memory was made of: a document's pages, and the figures."""

    pages: list[PageText]
    summary: Condensed


@dataclass(frozen=True)
class Memory:
    """One or several documents in memory, ready for a question.

    Attributes:
        reader: has read all finished intervals.
        tail: token ids of the unfinished one, to be read before the question.
        documents: in the order of the memory.
    """

    reader: Reader
    tail: list[int]
    documents: tuple[DocumentText, ...]

    @property
    def rows(self) -> int:
        """Rows of memory that the documents take."""
        return self.reader.memory.size + len(self.tail)

    @property
    def ratio(self) -> int:
        """The condensing ratio, the same for all documents."""
        return self.documents[0].summary.ratio


@dataclass(frozen=True)
class Request:
    """What to read and how.

    Attributes:
        ratio: condensing ratio; None takes the smallest that fits.
        needed: positions that the question and its answer will take.
        refresh: condense anew whatever the cache has.
    """

    ratio: int | None
    needed: int
    refresh: bool = False


@dataclass(frozen=True)
class Measured:
    """A document of known length; it may be closed.

    Attributes:
        tokens: that it has, the prompt's opening included.
        stream: all of it, or what reads it out of a cache.
    """

    document: Document
    tokens: int
    stream: Stream


def measure(
    source: ModelSource, frame: Frame, document: Document, store: Store | None, request: Request
) -> Generator[Event, None, Measured]:
    """Find out how long a document is: from a cache that has its text, else by reading all of it.

    Raises:
        DocumentError: if it cannot be read.
        CacheError: if the cache cannot be read.
    """
    if store is not None and not request.refresh:
        for ratio in source.ratios:
            entry = entry_of(source, frame, document, ratio, store)
            manifest = entry.complete_manifest()
            if manifest is not None:
                return Measured(document, manifest.tokens, stored_stream(source, frame, entry))
    stream = document_stream(source, frame, document)
    yield from read_all(document, stream)
    return Measured(document, len(stream.ids), stream)


def condense(
    engine: Engine, frame: Frame, document: Document, store: Store | None, request: Request
) -> Generator[Event, None, Memory]:
    """Bring a document into memory; without a store, nothing of it is written to disk.

    Raises:
        DocumentError: if it cannot be read, or is too long for the model.
        CacheError: if the cache cannot be written, read or trusted.
    """
    if request.ratio is None:
        measured = yield from measure(engine.source, frame, document, store, request)
        return (yield from condense_measured(engine, frame, measured, store, request))
    stream = document_stream(engine.source, frame, document)
    return (yield from condense_stream(engine, frame, document, stream, store, request, request.ratio))


def condense_measured(
    engine: Engine, frame: Frame, measured: Measured, store: Store | None, request: Request
) -> Generator[Event, None, Memory]:
    """Bring a document of known length into memory; raises what `condense` does."""
    source, document, stream = engine.source, measured.document, measured.stream
    ratio = request.ratio
    if ratio is None:
        ratio = budget.smallest_ratio(source, measured.tokens, request.needed)
    if ratio is None:
        raise budget.too_long(source, document.source.name, measured.tokens, None, request.needed, stream.pages)
    return (yield from condense_stream(engine, frame, document, stream, store, request, ratio))


def condense_stream(
    engine: Engine,
    frame: Frame,
    document: Document,
    stream: Stream,
    store: Store | None,
    request: Request,
    ratio: int,
) -> Generator[Event, None, Memory]:
    """Bring a document into memory at `ratio`, read as far as `stream` has it; raises what `condense` does."""
    if store is None:
        return (yield from _build(engine, document, stream, None, None, request, ratio))
    entry = entry_of(engine.source, frame, document, ratio, store)
    if not request.refresh:
        with entry.in_use():
            found = entry.manifest()
            if found is not None and found.complete:
                return (yield from _load(engine, document, entry, ratio))
    builder = entry.builder(subject_of(engine, frame, document, ratio, store.bits), refresh=request.refresh)
    if not builder.try_lock():
        yield Note(f"another process is condensing {document.source.name}; waiting for it")
    began_empty = False
    try:
        with builder:
            if builder.manifest.complete:
                return (yield from _load(engine, document, entry, ratio))
            began_empty = entry.manifest() is None
            memory = yield from _build(engine, document, stream, builder, store, request, ratio)
    except DocumentError:
        # A document that turns out to be unreadable, or too long, leaves the cache as it was.
        if began_empty:
            store.remove(entry)
        raise
    notes: list[Event] = []
    make_room(store, entry, notes.append)
    yield from notes
    return memory


def _load(engine: Engine, document: Document, entry: Entry, ratio: int) -> Generator[Event, None, Memory]:
    began = time.perf_counter()
    stored = entry.open(engine.device)
    reader = restored(engine, ratio, stored)
    pages = list(entry.pages())
    manifest = stored.manifest
    summary = Condensed(
        document.source.name,
        manifest.tokens,
        reader.memory.size + len(manifest.tail),
        ratio,
        0,
        len(pages),
        str(entry.folder),
        manifest.warnings,
        {"load_cache": time.perf_counter() - began},
    )
    yield from map(Note, summary.warnings)
    yield summary
    return Memory(reader, list(manifest.tail), (DocumentText(pages, summary),))


def _build(
    engine: Engine,
    document: Document,
    stream: Stream,
    builder: Builder | None,
    store: Store | None,
    request: Request,
    ratio: int,
) -> Generator[Event, None, Memory]:
    """Condense interval by interval, as the pages come; goes on behind what is condensed already."""
    began = time.perf_counter()
    source, name = engine.source, document.source.name
    beginning = Beginning(builder, None if request.refresh else store)
    reader: Reader | None = None
    resumed = 0
    yield reading(document, stream)
    ended = False
    while not ended:
        page = next(stream.rest, None)
        ended = page is None
        if page is not None:
            yield page
        if not budget.fits(source, len(stream.ids), ratio, request.needed):
            raise budget.too_long(source, name, len(stream.ids), ratio, request.needed, stream.pages)
        if reader is None:
            if beginning.needs_more(stream.ids) and not ended:
                continue
            reader = beginning.reader(engine, ratio, stream.ids)
            resumed = reader.planner.consumed
            yield from map(Note, beginning.notes)
            yield reading(document, stream, resumed)
        yield from condense_intervals(reader, stream.ids, source.info.config.window, ratio, builder)
    assert reader is not None  # made at the last page at the latest
    tail = stream.ids[reader.planner.consumed :]
    if builder is not None:
        builder.finish(tail, stream.pages, stream.warnings)
    if beginning.taken is not None:
        yield Note(f"{name}: {resumed:,} of its {len(stream.ids):,} tokens were condensed before")
        beginning.discard_superseded()
    yield from map(Note, stream.warnings)
    summary = Condensed(
        name,
        len(stream.ids),
        reader.memory.size + len(tail),
        ratio,
        reader.planner.consumed - resumed,
        len(stream.pages),
        None if builder is None else str(builder.folder),
        tuple(stream.warnings),
        {"condense": time.perf_counter() - began},
    )
    yield summary
    return Memory(reader, tail, (DocumentText(stream.pages, summary),))

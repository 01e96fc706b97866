"""From a document to its memory: out of the cache, or page by page and interval by interval into it."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from activation_beacon.memory import Activations
from activation_beacon.reader import Reader
from beacon_cli import budget
from beacon_cli.documents import TEXT_VERSION, Document
from beacon_cli.engine import Engine
from beacon_cli.errors import DocumentError
from beacon_cli.events import Condensed, Event, IntervalDone, Note, PageRead, Reading
from beacon_cli.model_source import ModelSource
from beacon_cli.prompts import Frame
from beacon_cli.store import Builder, Compute, DocumentInfo, Entry, Identity, Models, PageText, Store, Subject
from beacon_cli.store.shards import Rows, StoredMemory

PAGE_END = "\n\n"


@dataclass
class Stream:
    """The token stream of a document as far as it has been read, the prompt's opening first."""

    ids: list[int]
    pages: list[PageText] = field(default_factory=list)


@dataclass(frozen=True)
class DocumentMemory:
    """A document in memory, ready for a question.

    Attributes:
        reader: has read all finished intervals.
        tail: token ids of the unfinished one, to be read before the question.
        pages: the document's text.
        summary: the figures.
    """

    reader: Reader
    tail: list[int]
    pages: list[PageText]
    summary: Condensed


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


def condense(
    engine: Engine, frame: Frame, document: Document, store: Store | None, request: Request
) -> Generator[Event, None, DocumentMemory]:
    """Bring a document into memory; without a store, nothing of it is written to disk.

    Raises:
        DocumentError: if it cannot be read, or is too long for the model.
        CacheError: if the cache cannot be written, read or trusted.
    """
    source, stream = engine.source, Stream(list(frame.opening))
    ratio, known = request.ratio, False
    if ratio is None:
        tokens = None
        if store is not None and not request.refresh:
            tokens = _cached_tokens(source, frame, document, store)
        if tokens is None:
            yield _reading(document, stream)
            yield from _read_pages(engine, document, stream)
            tokens, known = len(stream.ids), True
        ratio = budget.smallest_ratio(source, tokens, request.needed)
        if ratio is None:
            raise budget.too_long(source, document.source.name, tokens, None, request.needed, stream.pages)
    pages = iter(()) if known else _read_pages(engine, document, stream)
    if store is None:
        return (yield from _build(engine, document, stream, pages, None, request, ratio))
    subject = _subject(engine, frame, document, ratio)
    entry = store.entry(subject.identity, document.source.sha256, document.selection.canonical)
    if not request.refresh and (found := entry.manifest()) is not None and found.complete:
        return (yield from _load(engine, document, entry, ratio))
    builder = entry.builder(subject, refresh=request.refresh)
    if not builder.try_lock():
        yield Note(f"another process is condensing {document.source.name}; waiting for it")
    began_empty = False
    try:
        with builder:
            if builder.manifest.complete:
                return (yield from _load(engine, document, entry, ratio))
            began_empty = entry.manifest() is None
            return (yield from _build(engine, document, stream, pages, builder, request, ratio))
    except DocumentError:
        # A document that turns out to be unreadable, or too long, leaves the cache as it was.
        if began_empty:
            store.remove(entry)
        raise


def _reading(document: Document, stream: Stream, condensed: int = 0) -> Reading:
    pages = sum(1 for _ in document.selection.numbers())
    return Reading(document.source.name, pages, len(stream.pages), len(stream.ids), condensed)


def identity(source: ModelSource, frame: Frame, ratio: int) -> Identity:
    """What a memory made by this model at this ratio means."""
    config = source.info.config
    return Identity(
        base=source.base_fingerprint,
        beacon=source.beacon_fingerprint,
        tokenizer=source.tokenizer.fingerprint,
        window=config.window,
        stride=config.stride,
        scheme={
            "pos": config.pos,
            "attn": config.attn,
            "attend_prev": config.attend_prev,
            "sink_size": config.sink_size,
            "param": list(config.param),
        },
        ratio=ratio,
        prompt_prefix=frame.opening,
        text_version=TEXT_VERSION,
    )


def _subject(engine: Engine, frame: Frame, document: Document, ratio: int) -> Subject:
    source = document.source
    return Subject(
        identity(engine.source, frame, ratio),
        DocumentInfo(
            name=source.name,
            path=source.path or "-",
            size=source.size,
            sha256=source.sha256,
            title=source.title,
            kind=source.kind,
            selection=document.selection.canonical,
            page_count=source.page_count,
        ),
        Models(engine.source.name, str(engine.source.beacon_folder)),
        Compute(str(engine.device), str(engine.dtype).removeprefix("torch.")),
    )


def _cached_tokens(source: ModelSource, frame: Frame, document: Document, store: Store) -> int | None:
    """How many tokens the document has, if a complete cache of it at any ratio says so."""
    for ratio in source.ratios:
        entry = store.entry(identity(source, frame, ratio), document.source.sha256, document.selection.canonical)
        manifest = entry.manifest()
        if manifest is not None and manifest.complete:
            return manifest.tokens
    return None


def _read_pages(engine: Engine, document: Document, stream: Stream) -> Iterator[PageRead]:
    """Extract and tokenize page by page, into `stream`."""
    for page in document.pages():
        first = len(stream.ids)
        stream.ids += engine.source.tokenizer.encode(page.text + PAGE_END)
        label = str(page.number) if page.label is None else page.label
        stream.pages.append(PageText(page.number, label, page.text, first, len(stream.ids)))
        yield PageRead(len(stream.pages), len(stream.ids))


def _load(engine: Engine, document: Document, entry: Entry, ratio: int) -> Generator[Event, None, DocumentMemory]:
    began = time.perf_counter()
    reader = engine.reader(ratio)
    stored = entry.open(engine.device)
    _restore(engine, reader, stored)
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
        {"load_cache": time.perf_counter() - began},
    )
    yield summary
    return DocumentMemory(reader, list(manifest.tail), pages, summary)


def _restore(engine: Engine, reader: Reader, stored: StoredMemory) -> None:
    """Place a stored memory in an empty reader."""
    manifest = stored.manifest
    if stored.sink is not None:
        reader.load(_activations(engine, stored.sink))
    for shard in stored:
        reader.load(_activations(engine, shard))
    reader.planner.restore(
        tokens=manifest.condensed_tokens,
        sink=manifest.sink_rows,
        beacons=reader.memory.size - manifest.sink_rows,
        intervals=len(manifest.intervals),
    )


def _activations(engine: Engine, rows: Rows) -> Activations:
    return Activations(rows.keys.to(engine.device, engine.dtype), rows.values.to(engine.device, engine.dtype))


def _build(
    engine: Engine,
    document: Document,
    stream: Stream,
    pages: Iterator[PageRead],
    builder: Builder | None,
    request: Request,
    ratio: int,
) -> Generator[Event, None, DocumentMemory]:
    """Condense interval by interval, as the pages come; resumes behind what is durable."""
    began = time.perf_counter()
    source, reader = engine.source, engine.reader(ratio)
    waiting_for = 0 if builder is None else builder.manifest.condensed_tokens
    resumed = 0
    yield _reading(document, stream, waiting_for)
    read_all = False
    while not read_all:
        page = next(pages, None)
        read_all = page is None
        if page is not None:
            yield page
        if not budget.fits(source, len(stream.ids), ratio, request.needed):
            raise budget.too_long(source, document.source.name, len(stream.ids), ratio, request.needed, stream.pages)
        if waiting_for:
            if len(stream.ids) < waiting_for and not read_all:
                continue
            if builder is not None and builder.check_token_prefix(stream.ids):
                _restore(engine, reader, builder.memory(engine.device))
                resumed = waiting_for
            else:
                yield Note("what was condensed before does not match the document any more; starting over")
            waiting_for = 0
        yield from _condense_intervals(source, stream, reader, builder, ratio)
    tail = stream.ids[reader.planner.consumed :]
    if builder is not None:
        builder.finish(tail, stream.pages)
    for warning in document.warnings:
        yield Note(warning)
    summary = Condensed(
        document.source.name,
        len(stream.ids),
        reader.memory.size + len(tail),
        ratio,
        reader.planner.consumed - resumed,
        len(stream.pages),
        None if builder is None else str(builder.folder),
        {"condense": time.perf_counter() - began},
    )
    yield summary
    return DocumentMemory(reader, tail, stream.pages, summary)


def _condense_intervals(
    source: ModelSource, stream: Stream, reader: Reader, builder: Builder | None, ratio: int
) -> Iterator[IntervalDone]:
    """Condense every interval that the stream holds in full."""
    window = source.info.config.window
    while len(stream.ids) - reader.planner.consumed >= window:
        ids = stream.ids[reader.planner.consumed : reader.planner.consumed + window]
        for step in reader.feed(ids):
            if builder is None or step.condensed is None:
                continue
            sink, rows = len(step.plan.sink), step.condensed
            builder.add(
                ids,
                ratio,
                rows.keys[:, :, sink:],
                rows.values[:, :, sink:],
                (rows.keys[:, :, :sink], rows.values[:, :, :sink]) if sink else None,
            )
        yield IntervalDone(reader.planner.consumed, reader.memory.size)

"""From documents to one memory: out of the cache, or page by page and interval by interval into it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from activation_beacon import SequenceReader
from beacon_cli.cache.builder import Builder
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.growing import Beginning
from beacon_cli.cache.housekeeping import make_room
from beacon_cli.cache.identities import entry_of, subject_of
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.stored import StoredDocument
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing import ratio as ratios
from beacon_cli.condensing.intervals import condense_intervals
from beacon_cli.condensing.loading import LeftInCache, announce, is_text_of, load, tell
from beacon_cli.condensing.measuring import Measured, Measuring, Text
from beacon_cli.condensing.placing import DocumentMemory, Held, Placed, place_alone, place_together
from beacon_cli.condensing.text import reading
from beacon_cli.documents import Document
from beacon_cli.errors import CacheError, DocumentError
from beacon_cli.events import Condensed, Note


class Condenser:
    """Brings documents into memory.

    Args:
        measuring: what has measured them.
        engine: loads the model's weights; called when it is known that the documents can be read and fit.
    """

    def __init__(self, measuring: Measuring, engine: Callable[[], Engine]) -> None:
        self._measuring, self._engine, self._progress = measuring, engine, measuring.progress
        self._loading = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """Spent so far, by stage: "open" (reading what must be read before the ratio is known), "load_model"."""
        return {"open": self._measuring.seconds, "load_model": self._loading}

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
            self._loading += time.perf_counter() - loading
            several, pairs = len(measured.texts) > 1, zip(measured.texts, measured.ratios, strict=True)
            made = [self._memory(engine, text, ratio, several) for text, ratio in pairs]
            if several:
                named = [
                    replace(each, summary=replace(each.summary, name=name))
                    for each, name in zip(made, measured.names, strict=True)
                ]
                return place_together(engine, measured.ratio, named, measured.at_once)
            (document,) = made
            measuring = self._measuring
            at_once = measuring.source.info is not None or document.summary.rows <= measuring.room
            return place_alone(document, at_once)

    def kept(self, measured: Measured) -> bool:
        """Whether the cache has all of it, so that `read` would only load that; its figures are then announced."""
        found: list[tuple[Document | StoredDocument, Entry, Manifest]] = []
        for text, ratio in zip(measured.texts, measured.ratios, strict=True):
            document = text.document
            if isinstance(document, StoredDocument):
                found.append((document, document.entry, document.manifest))
                continue
            complete = self._measuring.complete(document, ratio)
            if complete is None:
                return False
            found.append((document, *complete))
        for document, entry, manifest in found:
            entry.count_use()
            tell(document, entry, manifest, len(entry.pages()), {}, self._progress)
        return True

    def _memory(self, engine: Engine, text: Text, ratio: int, several: bool) -> DocumentMemory:
        """A document's own memory at `ratio`: taken from the cache if it is there, else condensed.

        Args:
            several: whether there are others; each is left in the cache until it is needed.
        """
        document, store = text.document, self._measuring.store
        limited = store is not None and store.limit is not None  # room for one is made of others, also of these
        room = (sys.maxsize if limited else 0) if several else self._measuring.room
        again = partial(self._once_more, engine, text, ratio, several)
        if isinstance(document, StoredDocument):
            with document.entry.in_use():
                return load(engine, document, document.entry, room, again, self._progress)
        if store is None:
            return self._build(engine, text, ratio, None)[0]
        entry = entry_of(engine.source, document, ratio, store)
        refresh = self._measuring.request.refresh
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
                if not held.intact or made.summary.rows > room:
                    made = replace(made, memory=LeftInCache(engine, entry, builder.manifest, again))
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
        """The memory of a document that has left the cache since it was read."""
        return self._memory(engine, self._measuring.again(text), ratio, several)

    def _build(self, engine: Engine, text: Text, ratio: int, builder: Builder | None) -> tuple[DocumentMemory, Held]:
        """Condense a document as its pages come; goes on after what is condensed already.

        Args:
            builder: within its context; None keeps nothing.
        """
        began = time.perf_counter()
        stream, name = text.stream, text.document.source.name
        beginning = Beginning(builder, None if self._measuring.request.refresh else self._measuring.store)
        stem = self._measuring.request.stem if builder is None else None
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
        fitting = not self._measuring.recalls
        stream, source, needed = text.stream, self._measuring.source, self._measuring.request.needed
        ended = False
        while not ended:
            ended = not stream.read_page(self._progress)
            # An interval that has begun takes more room than it will when it ends.
            begun = 0 if ended else len(stream.ids) % source.window
            if fitting and not ratios.fits(source, len(stream.ids) - begun, ratio, needed):
                name = text.document.source.name
                raise ratios.too_long(source, name, len(stream.ids), ratio, needed, stream.pages)
            yield ended

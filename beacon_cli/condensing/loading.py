"""What the cache has of a document: whether that is its text, and its memory."""

import time
from collections.abc import Callable, Mapping, Sequence

from activation_beacon import SequenceReader
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.growing import restored
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.origin import has_own_text
from beacon_cli.cache.stored import StoredDocument
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.placing import DocumentMemory, Held, Remembered
from beacon_cli.condensing.text import TokenStream, reading
from beacon_cli.documents import Document
from beacon_cli.events import Condensed, Note, Progress


def is_text_of(document: Document, stream: TokenStream, entry: Entry, manifest: Manifest, progress: Progress) -> bool:
    """Whether a complete cache holds the document's own text: if it was imported, that is found out here, once.

    Args:
        stream: of the document.

    Raises:
        DocumentError: if it cannot be read.
        CacheError: if the cache is damaged, or what was found out cannot be written.
    """
    if has_own_text(entry.origin(), manifest):
        return True
    progress(reading(document, stream))
    stream.read_all(progress)
    ids, end = stream.ids, manifest.condensed_tokens
    same = (
        manifest.shared_intervals(ids) == len(manifest.intervals)
        and tuple(ids[end:]) == manifest.tail
        and tuple(stream.pages) == entry.pages()
        and tuple(stream.warnings) == manifest.warnings
    )
    if same:
        entry.prove(manifest, text=True)
    return same


class LeftInCache:
    """A memory that is left in its complete cache until something of it is needed.

    Args:
        again: brings it there again if it was removed or condensed anew meanwhile.
    """

    def __init__(self, engine: Engine, entry: Entry, manifest: Manifest, again: Callable[[], DocumentMemory]) -> None:
        self._engine, self._entry, self._manifest, self._again = engine, entry, manifest, again
        self._other: Remembered | None = None  # what holds all of it, or has taken its place

    def whole(self) -> SequenceReader:
        if self._other is None:
            reader = self._load(_all(self._manifest))
            self._other = self._other or Held(reader)
        return self._other.whole()

    def parts(self, parts: Sequence[range]) -> SequenceReader:
        return self._load(parts) if self._other is None else self._other.parts(parts)

    def _load(self, parts: Sequence[range]) -> SequenceReader:
        with self._entry.in_use():
            found = self._entry.manifest()
            if found is not None and found.chain == self._manifest.chain:
                return restored(self._engine, self._entry.open(self._engine.device), parts=parts)
        self._other = self._again().memory
        return self._other.parts(parts)


def load(
    engine: Engine,
    document: Document | StoredDocument,
    entry: Entry,
    room: int,
    again: Callable[[], DocumentMemory],
    progress: Progress,
) -> DocumentMemory:
    """What a complete cache holds; a memory of more than `room` rows is left there, see `LeftInCache`.

    Raises:
        CacheError: if it is damaged.
    """
    began = time.perf_counter()
    stored, pages = entry.open(engine.device), entry.pages()
    manifest = stored.manifest
    small = manifest.sink_rows + manifest.rows + len(manifest.tail) <= room
    memory = (
        Held(restored(engine, stored, parts=_all(manifest))) if small else LeftInCache(engine, entry, manifest, again)
    )
    seconds = {"load_cache": time.perf_counter() - began}
    summary = tell(document, entry, manifest, len(pages), seconds, progress)
    return DocumentMemory(pages, summary, memory, list(manifest.tail))


def _all(manifest: Manifest) -> list[range]:
    return [range(manifest.tokens)]


def tell(
    document: Document | StoredDocument,
    entry: Entry,
    manifest: Manifest,
    pages: int,
    seconds: Mapping[str, float],
    progress: Progress,
) -> Condensed:
    """The figures of a complete cache, announced, with what the user should know of it."""
    origin = entry.origin()
    foreign = origin is not None and origin.is_foreign(manifest)
    summary = Condensed(
        name=document.source.name,
        tokens=manifest.tokens,
        rows=manifest.sink_rows + manifest.rows + len(manifest.tail),
        ratio=manifest.subject.identity.ratio,
        condensed_now=0,
        pages=pages,
        cache_path=str(entry.folder),
        warnings=manifest.warnings,
        seconds=dict(seconds),
        from_cache=True,
        path=document.source.path,
        foreign=foreign,
        without_document=isinstance(document, StoredDocument),
    )
    if summary.without_document:
        told = "" if origin is None else f" ({origin.told(manifest)})"
        progress(Note(f"{document.source.name}: taken from the cache{told}, without the document itself"))
    elif foreign:
        progress(
            Note(
                f"{document.source.name}: its condensed memory was imported, and only its text is proven to be the "
                f"document's; `beacon cache verify --deep --repair {entry.key[:12]}` condenses it again"
            )
        )
    announce(summary, progress)
    return summary


def announce(summary: Condensed, progress: Progress) -> None:
    """Say what the user should know of a document that is condensed."""
    for warning in summary.warnings:
        progress(Note(warning))
    progress(summary)

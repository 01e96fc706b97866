"""What the cache has of a document: whether that is its text, and its memory."""

import time

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.growing import restored
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.origin import has_own_text
from beacon_cli.cache.stored import StoredDocument
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.placing import DocumentText, Placed
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


def load(engine: Engine, document: Document | StoredDocument, entry: Entry, progress: Progress) -> Placed:
    """The memory that a complete cache holds."""
    began = time.perf_counter()
    stored = entry.open(engine.device)
    reader = restored(engine, stored)
    pages = list(entry.pages())
    manifest = stored.manifest
    origin = entry.origin()
    foreign = origin is not None and origin.is_foreign(manifest)
    summary = Condensed(
        name=document.source.name,
        tokens=manifest.tokens,
        rows=reader.memory.size + len(manifest.tail),
        ratio=manifest.subject.identity.ratio,
        condensed_now=0,
        pages=len(pages),
        cache_path=str(entry.folder),
        warnings=manifest.warnings,
        seconds={"load_cache": time.perf_counter() - began},
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
    return announced(Placed(reader, list(manifest.tail), (DocumentText(pages, summary),)), progress)


def announced(placed: Placed, progress: Progress) -> Placed:
    summary = placed.documents[0].summary
    for warning in summary.warnings:
        progress(Note(warning))
    progress(summary)
    return placed

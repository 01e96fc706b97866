"""The search index of documents as one file beside the cache of the first: bm25s' own files, packed, with a checksum.

It is made of what the cache holds, so that nothing is lost with it: a file that is missing, damaged, or of another
version or another text is made anew.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import bm25s

from beacon_cli.answering.passages import Passage, split_passages
from beacon_cli.answering.search import SearchIndex, Tables
from beacon_cli.answering.terms import VERSION
from beacon_cli.cache.derived import read_derived, write_derived
from beacon_cli.cache.pages import PageText

_VERSION = f"{VERSION} {bm25s.__version__}"
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class IndexedText:
    """A document's text.

    Attributes:
        name: what citations call it.
        pages: its pages.
        path: of its file, absolute; None if it is none.
        folder: its cache, where the index is kept; None without one.
    """

    name: str
    pages: Sequence[PageText]
    path: str | None
    folder: Path | None


def index_of(documents: Sequence[IndexedText]) -> SearchIndex:
    """The index of all passages of the documents; it is kept if the first of them is cached."""
    passages = [passage for text in documents for passage in split_passages(text.pages, text.name)]
    folder, several = documents[0].folder, len(documents) > 1
    if folder is None:
        return SearchIndex(passages)
    data = read_derived(folder, several=several)
    tables = None if data is None else unpacked(data, passages)
    index = SearchIndex(passages, tables)
    if tables is None:
        keep_index(index, folder, several=several)
    return index


def keep_index(index: SearchIndex, folder: Path, *, several: bool) -> None:
    """Keep the index of documents, one or several, with the cache of the first."""
    write_derived(folder, packed(index), several=several)


def packed(index: SearchIndex) -> bytes:
    """The tables of an index, to be kept."""
    tables, file = index.tables, io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, TemporaryDirectory() as folder:
        for name in ("own", "whole"):
            getattr(tables, name).save(Path(folder, name), show_progress=False)
        for path in sorted(Path(folder).glob("*/*")):
            archive.write(path, path.relative_to(folder).as_posix())
        about = {"language": tables.language, "names": sorted(tables.names), "text": _digest(index.passages)}
        archive.writestr("about.json", json.dumps({"version": _VERSION, **about}))
    data = file.getvalue()
    return hashlib.sha256(data).digest() + data


def unpacked(data: bytes, passages: Sequence[Passage]) -> Tables | None:
    """The tables that `packed` made `data` of, of an index of the same passages; None if that is not what it is."""
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    with zipfile.ZipFile(io.BytesIO(data[_DIGEST:])) as archive, TemporaryDirectory() as folder:
        about = json.loads(archive.read("about.json"))
        if (about["version"], about["text"]) != (_VERSION, _digest(passages)):
            return None
        archive.extractall(folder)
        own, whole = (
            bm25s.BM25.load(Path(folder, name), show_progress=False, allow_pickle=False) for name in ("own", "whole")
        )
        return Tables(about["language"], own, whole, frozenset(about["names"]))


def _digest(passages: Sequence[Passage]) -> str:
    # A document may have been renamed, which tells among several only.
    several = len({passage.document for passage in passages}) > 1
    parts = (
        (passage.document if several else None, passage.page, passage.section, passage.text) for passage in passages
    )
    return hashlib.sha256("\0".join(map(repr, parts)).encode("utf-8", "replace")).hexdigest()

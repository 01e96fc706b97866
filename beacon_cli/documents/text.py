"""Plain text and Markdown: decoding, and cutting into pages."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from pathlib import PurePath

from beacon_cli.documents.document import Document, Kind, Page, Source, existing
from beacon_cli.documents.magic import looks_like
from beacon_cli.documents.pages import PageSelection
from beacon_cli.documents.prose import clean, hard_wrap_width, unwrap
from beacon_cli.documents.raw import RawFile
from beacon_cli.errors import DocumentError

PAGE_CHARS = 2000
# What Windows-1252 leaves undefined, and control characters: no text has them.
_BINARY = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffd]")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)


class TextDocument(Document):
    """A text or Markdown file, held in memory.

    Encoding: UTF-8, or UTF-16 with a byte order mark; failing that Windows-1252, if it leaves no control
    characters. Anything else is refused.

    Pages: form feeds separate them. Without any, a page has at most `PAGE_CHARS` characters (about a paperback's
    page) and ends with the last paragraph in its second half; failing that with a line, a sentence, a word.

    Plain text whose lines are wrapped by hand is unwrapped (`prose.hard_wrap_width` tells); Markdown keeps its
    lines. The title is the first Markdown heading.
    """

    def __init__(self, raw: RawFile, selection: PageSelection, kind: Kind) -> None:
        data = _read_text(raw)
        text = clean(_decode(raw, data))
        if not text.strip():
            raise raw.error("holds only white space: there is nothing to read")
        self._pages = _cut(text, kind)
        count = len(self._pages)
        heading = _HEADING.search(text) if kind == "markdown" else None
        source = Source(
            name=PurePath(raw.name).name,
            path=raw.path,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            title=heading[1] if heading else None,
            page_count=count,
            kind=kind,
        )
        super().__init__(source, existing(raw, selection, count))
        if not any(self._pages[number - 1] for number in self.selection.numbers()):
            raise raw.error(f"pages {self.selection.canonical} hold no text: select others with --pages")

    def pages(self) -> Iterator[Page]:
        for number in self.selection.numbers():
            yield Page(number, None, self._pages[number - 1])

    def close(self) -> None:
        """Nothing is held open."""


def _is_utf16(head: bytes) -> bool:
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _read_text(raw: RawFile) -> bytes:
    with raw.file:
        if b"\0" in raw.head and not _is_utf16(raw.head):  # told from the head: this may be too big to load
            raise _not_text(raw, raw.head.index(b"\0"))
        return raw.read()


def _decode(raw: RawFile, data: bytes) -> str:
    try:
        return data.decode("utf-16" if _is_utf16(data) else "utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", "replace")
        if _is_utf16(data) or _BINARY.search(text):
            raise _not_text(raw, error.start) from error
        return text


def _not_text(raw: RawFile, offset: int) -> DocumentError:
    seen = looks_like(raw.head)
    if seen:
        return raw.error(f"is not text but {seen}: only PDF, .txt and .md can be read")
    return raw.error(f"is not text in UTF-8, UTF-16 or Windows-1252 (byte {offset}): convert it to UTF-8 first")


def _cut(text: str, kind: Kind) -> list[str]:
    width = hard_wrap_width(text.replace("\f", "\n\n")) if kind == "text" else None
    given = text.rstrip("\f\n").split("\f")
    pages = given if width is None else [unwrap(page, width) for page in given]
    if len(pages) == 1:
        pages = list(_slices(pages[0]))
    return [page.strip("\n") if page.strip() else "" for page in pages]


def _slices(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PAGE_CHARS:
        end = start + PAGE_CHARS
        for mark in ("\n\n", "\n", ". ", " "):
            found = text.rfind(mark, start + PAGE_CHARS // 2, end)
            if found >= 0:
                end = found + len(mark)
                break
        yield text[start:end]
        start = end
    yield text[start:]

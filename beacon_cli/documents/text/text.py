"""Plain text and Markdown: decoding, and cutting into pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from beacon_cli.documents.document import Document, Kind, Page, Source, existing
from beacon_cli.documents.magic import looks_like
from beacon_cli.documents.raw import RawFile
from beacon_cli.documents.selection import PageSelection
from beacon_cli.documents.text.decoding import decode, guess_utf16
from beacon_cli.documents.text.prose import clean, hard_wrap_width, one_line, unwrap
from beacon_cli.documents.text.slicing import slices
from beacon_cli.errors import DocumentError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_LONGEST_HEADING = 120


class TextDocument(Document):
    """A text or Markdown file, held in memory.

    Encoding: UTF-8, or what a byte order mark tells; failing that it is guessed, and `warnings` name it. What is
    text in no encoding is refused.

    Pages: form feeds separate them. Without any, they are `slices`.

    Plain text whose lines are wrapped by hand is unwrapped (`prose.hard_wrap_width` tells); Markdown keeps its
    lines. The title is the first Markdown heading; all of them are sections.
    """

    def __init__(self, raw: RawFile, selection: PageSelection, kind: Kind) -> None:
        data = _read_text(raw)
        decoded, guessed = _decode(raw, data)
        text = clean(decoded)
        if not text.strip():
            raise raw.error("holds only white space: there is nothing to read")
        self._pages = _cut(text, kind)
        self._sections = _sections(self._pages) if kind == "markdown" else [None] * len(self._pages)
        count = len(self._pages)
        heading = _HEADING.search(text) if kind == "markdown" else None
        source = Source(
            name=PurePath(raw.name).name,
            path=raw.path,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            title=heading[2] if heading else None,
            page_count=count,
            kind=kind,
        )
        super().__init__(source, existing(raw, selection, count))
        if not any(self._pages[number - 1] for number in self.selection.numbers()):
            raise raw.error(f"pages {self.selection.canonical} hold no text: select others with --pages")

        if guessed:
            self.warnings[:] = [f"was read as {guessed}, which is a guess: save it as UTF-8 if words look wrong"]

    def pages(self) -> Iterator[Page]:
        for number in self.selection.numbers():
            yield Page(number, None, self._pages[number - 1], self._sections[number - 1])

    def close(self) -> None:
        """Nothing is held open."""


def _read_text(raw: RawFile) -> bytes:
    with raw.file:
        # Told from the head: this may be too big to load.
        is_odd = b"\0" in raw.head and not raw.head.startswith(_UTF16_MARKS)
        if is_odd and (looks_like(raw.head) or guess_utf16(raw.head) is None):
            raise _not_text(raw, raw.head.index(b"\0"))
        return raw.read()


def _decode(raw: RawFile, data: bytes) -> tuple[str, str | None]:
    try:
        return decode(data)
    except ValueError as error:
        raise _not_text(raw, error.args[0]) from error


def _not_text(raw: RawFile, offset: int) -> DocumentError:
    seen = looks_like(raw.head)
    if seen:
        return raw.error(f"is not text but {seen}: give it the suffix of what it is, if beacon reads that")
    return raw.error(f"is not text in any known encoding (byte {offset}): convert it to UTF-8 first")


def _cut(text: str, kind: Kind) -> list[str]:
    width = hard_wrap_width(text.replace("\f", "\n\n")) if kind == "text" else None
    given = text.rstrip("\f\n").split("\f")
    pages = given if width is None else [unwrap(page, width) for page in given]
    if len(pages) == 1:
        pages = list(slices(pages[0]))
    return [page.strip("\n") if page.strip() else "" for page in pages]


def _sections(pages: Sequence[str]) -> list[str | None]:
    """For each page its first heading with those above it, or else the last heading before it."""
    sections: list[str | None] = []
    path: list[tuple[int, str]] = []
    for page in pages:
        section = _joined(path)
        for index, found in enumerate(_HEADING.finditer(page)):
            level = len(found[1])
            path = [entry for entry in path if entry[0] < level] + [(level, one_line(found[2], _LONGEST_HEADING))]
            if index == 0:
                section = _joined(path)
        sections.append(section)
    return sections


def _joined(path: Sequence[tuple[int, str]]) -> str | None:
    return " › ".join(title for _, title in path) or None

"""What a document is to the rest of the tool: where it came from, and pages of text, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import Self

from beacon_cli.documents.content import Extras, Kind, Outcome, PageContent
from beacon_cli.documents.raw import RawFile
from beacon_cli.documents.selection import PageSelection
from beacon_cli.documents.worker.limits import Limits
from beacon_cli.documents.worker.process import ReadingProcess
from beacon_cli.documents.worker.protocol import Opening
from beacon_cli.errors import DocumentError
from beacon_cli.quantities import counted

_OCR = "needs OCR first (--ocr, where tesseract is installed, or for instance ocrmypdf)"
_FORCED = "for instance ocrmypdf --force-ocr"
# What is said of pages that have no text, or an uncertain one; nothing of blank ones.
_REMARKS: tuple[tuple[Outcome, str], ...] = (
    ("mapped", "in fonts that name no letters: read by the tables of Adobe's character collections"),
    ("recognized", "read by OCR, which makes mistakes"),
    ("garbled", f"left out, as nothing tells which letters their fonts draw: OCR can ({_FORCED})"),
    ("scanned", f"without text, only images: scanned text {_OCR}"),
    ("drawn", "without text, only drawings"),
    ("damaged", "unreadable (damaged)"),
)


@dataclass(frozen=True)
class Page:
    """One page.

    `number` counts from 1; `label` is what the PDF prints on it where that differs ("iv"); `section` is the bookmark
    or heading that it stands under, with those above it ("Iceland › Geography"), where there are any.
    """

    number: int
    label: str | None
    text: str
    section: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a document came from. `size` is in bytes; `sha256` (hex) is that of the bytes, not of the text.

    `path` is absolute, and None for standard input (whose `name` is "stdin") and pipes.
    """

    name: str
    path: str | None
    size: int
    sha256: str
    title: str | None
    page_count: int
    kind: Kind


class Document:
    """An open document, read page by page in another process, within `limits`. Close it, or use it in a `with`.

    `selection` is already cut to the pages that exist, so that "1-" and "1-40" of 40 pages are the same.
    `warnings`, always the same list, holds one-line remarks on the pages read, complete once `pages` has been read to
    its end.

    A document without text is refused when it is opened if that takes no extraction: a PDF if no selected page has a
    font, as in a plain scan. Where there are fonts but no text, the error comes at the end of `pages`, when all
    (empty) pages have been yielded. Single pages that hold no text or cannot be read are yielded empty and named
    in `warnings`.
    """

    def __init__(
        self, raw: RawFile, selection: PageSelection, kind: Kind, *, password: str | None, limits: Limits
    ) -> None:
        self._raw = raw
        self._opening = Opening(
            kind=kind,
            name=raw.name,
            path=raw.real_path,
            stamp=raw.stamp,
            data_size=0 if raw.real_path else raw.size,
            password=password,
            ranges=selection.ranges,
            ocr=selection.ocr,
            limits=limits.applied(kind, raw.size, ocr=selection.ocr),
        )
        self.warnings: list[str] = []
        self._running: set[ReadingProcess] = set()
        self._idle: ReadingProcess | None = self._start()
        try:
            facts = self._idle.facts
            self.source = Source(
                name=PurePath(raw.name).name,
                path=raw.path,
                size=raw.size,
                sha256=raw.sha256,
                title=facts.title,
                page_count=facts.page_count,
                kind=kind,
            )
            self.selection = selection.clipped(facts.page_count)
            if not self.selection.ranges:
                raise raw.error(
                    f"has {counted(facts.page_count, 'page')}, and --pages {selection.canonical} is beyond them: "
                    "select some of these"
                )
            if not facts.has_text:
                raise self._without_text("scanned")
        except BaseException:
            self.close()
            raise

    def pages(self) -> Iterator[Page]:
        """Yield the selected pages in order, those without text included; `DocumentError` if none has any."""
        process, self._idle = self._idle or self._start(), None
        try:
            yield from self._read(process, list(self.selection.numbers()))
        finally:
            process.close()
            self._running.discard(process)

    def close(self) -> None:
        """Let go of files and processes, also of those of an unfinished `pages`. May be called twice."""
        for process in self._running:
            process.close()
        self._running.clear()
        self._idle = None
        self._raw.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> ReadingProcess:
        data = None if self._raw.real_path else self._raw.read()
        process = ReadingProcess(self._opening, data)
        self._running.add(process)
        return process

    def _read(self, process: ReadingProcess, numbers: Sequence[int]) -> Iterator[Page]:
        extras = process.extras()
        if self._opening.kind == "pdf":
            process.find_running_heads()
        told: dict[Outcome, list[int]] = {}
        cut: list[int] = []
        for number, content in zip(numbers, process.pages(numbers), strict=True):
            told.setdefault(content.outcome, []).append(number)
            if content.cut:
                cut.append(number)
            yield _page(number, content, extras)
        if not told.keys() & {"text", "mapped", "recognized"}:
            kinds: tuple[Outcome, ...] = ("scanned", "drawn", "blank", "garbled", "damaged")
            raise self._without_text(next((kind for kind in kinds if kind in told), "damaged"))
        self.warnings[:] = [*extras.notes, *self._remarks(told, cut)]

    def _remarks(self, told: dict[Outcome, list[int]], cut: Sequence[int]) -> Iterator[str]:
        for outcome, state in _REMARKS:
            if numbers := told.get(outcome):
                yield f"{_pages(numbers)} {state}"
        limits = self._opening.limits
        if numbers := told.get("lost"):
            limit = f"{limits.page_seconds:g} s or {limits.memory >> 20:,} MiB of memory"
            yield f"{_pages(numbers)} left out, as reading took more than {limit}"
        if cut:
            yield f"{_pages(cut)} cut after {limits.page_characters:,} characters"

    def _without_text(self, outcome: Outcome) -> DocumentError:
        if outcome == "damaged":
            return self._raw.error("none of its pages can be read: download it again, or repair it with qpdf")
        whole = self.selection.ranges == ((1, self.source.page_count),)
        where = "" if whole else f" on pages {self.selection.canonical}"
        if outcome == "garbled":
            return self._raw.error(f"nothing tells which letters its fonts draw{where}: it needs OCR ({_FORCED})")
        if self._opening.kind != "pdf":
            return self._raw.error(f"holds no text{where}: there is nothing to read")
        return self._raw.error(f"holds no text{where}: it looks scanned and {_OCR}")


def _page(number: int, content: PageContent, extras: Extras) -> Page:
    label = extras.labels[number - 1] if number <= len(extras.labels) else ""
    section = extras.sections[number - 1] if number <= len(extras.sections) else None
    return Page(number, label if label not in ("", str(number)) else None, content.text, section)


def _pages(numbers: Sequence[int]) -> str:
    return f"page{'s' * (len(numbers) > 1)} {PageSelection.of(numbers).canonical.replace(',', ', ')}:"

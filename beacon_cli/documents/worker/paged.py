"""Documents that another process reads: PDF, EPUB, Word, web pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from beacon_cli.documents.document import Document, Page, Source, existing
from beacon_cli.documents.pdf.ending import check_ending
from beacon_cli.documents.raw import RawFile
from beacon_cli.documents.selection import PageSelection
from beacon_cli.documents.worker.limits import Limits
from beacon_cli.documents.worker.process import ReadingProcess
from beacon_cli.documents.worker.protocol import Extras, Opening, Outcome, PageContent, Reader
from beacon_cli.errors import DocumentError

_OCR = "needs OCR first (for instance with ocrmypdf)"
# What is said of pages that have no text; nothing of blank ones.
_WITHOUT_TEXT: tuple[tuple[Outcome, str], ...] = (
    ("scanned", f"without text, only images: scanned text {_OCR}"),
    ("drawn", "without text, only drawings"),
    ("damaged", "unreadable (damaged)"),
)


class PagedDocument(Document):
    """A document read page by page in another process, within `limits`; `PdfFile` and `flow` say what is refused.

    A PDF without text is refused when it is opened if no selected page has a font, as in a plain scan: that
    takes no extraction. Where there are fonts but no text, the error comes at the end of `pages`, when all
    (empty) pages have been yielded. Single pages that hold no text or cannot be read are yielded empty and named
    in `warnings`.
    """

    def __init__(
        self, raw: RawFile, selection: PageSelection, kind: Reader, *, password: str | None, limits: Limits
    ) -> None:
        self._raw = raw
        self._limits = limits
        if kind == "pdf":
            check_ending(raw.file, raw.name)
        self._opening = Opening(
            reader=kind,
            name=raw.name,
            path=raw.real_path,
            stamp=raw.stamp,
            data_size=0 if raw.real_path else raw.size,
            password=password,
            ranges=selection.ranges,
            memory=limits.memory,
            page_characters=limits.page_characters,
            page_seconds=limits.page_seconds,
        )
        self._running: set[ReadingProcess] = set()
        self._idle: ReadingProcess | None = self._start()
        try:
            facts = self._idle.facts
            source = Source(
                name=PurePath(raw.name).name,
                path=raw.path,
                size=raw.size,
                sha256=raw.sha256,
                title=facts.title,
                page_count=facts.page_count,
                kind=kind,
            )
            super().__init__(source, existing(raw, selection, source.page_count))
            if not facts.has_text:
                raise self._without_text("scanned")
        except BaseException:
            self.close()
            raise

    def pages(self) -> Iterator[Page]:
        process, self._idle = self._idle or self._start(), None
        try:
            yield from self._read(process, list(self.selection.numbers()))
        finally:
            process.close()
            self._running.discard(process)

    def close(self) -> None:
        for process in self._running:
            process.close()
        self._running.clear()
        self._idle = None
        self._raw.file.close()

    def _start(self) -> ReadingProcess:
        data = None if self._raw.real_path else self._raw.read()
        process = ReadingProcess(self._opening, data, self._limits)
        self._running.add(process)
        return process

    def _read(self, process: ReadingProcess, numbers: Sequence[int]) -> Iterator[Page]:
        extras = process.extras()
        if self._opening.reader == "pdf":
            process.find_running_heads()
        told: dict[Outcome, list[int]] = {}
        cut: list[int] = []
        for number, content in zip(numbers, process.pages(numbers), strict=True):
            told.setdefault(content.outcome, []).append(number)
            if content.cut:
                cut.append(number)
            yield _page(number, content, extras)
        if "text" not in told:
            raise self._without_text("damaged" if told.keys() <= {"damaged", "lost"} else "scanned")
        self.warnings[:] = [*extras.notes, *self._remarks(told, cut)]

    def _remarks(self, told: dict[Outcome, list[int]], cut: Sequence[int]) -> Iterator[str]:
        for outcome, state in _WITHOUT_TEXT:
            if numbers := told.get(outcome):
                yield f"{_pages(numbers)} {state}"
        limits = self._limits
        if numbers := told.get("lost"):
            limit = f"{limits.page_seconds:g} s or {limits.memory >> 20:,} MiB of memory"
            yield f"{_pages(numbers)} left out, as reading took more than {limit}"
        if cut:
            yield f"{_pages(cut)} cut after {limits.page_characters:,} characters"

    def _without_text(self, outcome: Outcome) -> DocumentError:
        if outcome == "damaged":
            return self._raw.error("none of its pages can be read: download it again, or repair it with qpdf")
        whole = self.selection == PageSelection(((1, self.source.page_count),))
        where = "" if whole else f" on pages {self.selection.canonical}"
        if self._opening.reader != "pdf":
            return self._raw.error(f"holds no text{where}: there is nothing to read")
        return self._raw.error(f"holds no text{where}: it looks scanned and {_OCR}")


def _page(number: int, content: PageContent, extras: Extras) -> Page:
    label = extras.labels[number - 1] if number <= len(extras.labels) else ""
    section = extras.sections[number - 1] if number <= len(extras.sections) else None
    return Page(number, label if label not in ("", str(number)) else None, content.text, section)


def _pages(numbers: Sequence[int]) -> str:
    return f"page{'s' * (len(numbers) > 1)} {PageSelection.of(numbers).canonical.replace(',', ', ')}:"

"""PDF documents: which pages to extract, where, and what is said about those without text."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import PurePath

from beacon_cli.documents.document import Document, Page, Source, existing
from beacon_cli.documents.extraction import ExtractionWorkers
from beacon_cli.documents.pages import PageSelection
from beacon_cli.documents.pdf_file import PdfFile
from beacon_cli.documents.raw import RawFile
from beacon_cli.errors import DocumentError

# Below this many pages extracting them takes about as long as starting a process that could do it.
_FEW_PAGES = 16
_MOST_WORKERS = 4


class PdfDocument(Document):
    """A PDF; `PdfFile` says which ones are refused.

    A PDF without text is refused when it is opened if no selected page has a font, as in a plain scan: that
    takes no extraction. Where there are fonts but no text, the error comes at the end of `pages`, when all
    (empty) pages have been yielded. Single pages that hold no text or cannot be read are yielded empty and named
    in `warnings`.
    """

    def __init__(self, raw: RawFile, selection: PageSelection, *, password: str | None, workers: int | None) -> None:
        self._raw = raw
        self._password = password
        self._workers = workers
        self._running: list[ExtractionWorkers] = []
        self._file = PdfFile(raw.file, raw.name, password)
        source = Source(
            name=PurePath(raw.name).name,
            path=raw.path,
            size=raw.size,
            sha256=raw.sha256,
            title=self._file.title,
            page_count=self._file.page_count,
            kind="pdf",
        )
        super().__init__(source, existing(raw, selection, source.page_count))
        if not any(map(self._file.may_hold_text, self.selection.numbers())):
            raise self._without_text()

    def pages(self) -> Iterator[Page]:
        numbers = list(self.selection.numbers())
        empty: list[int] = []
        unread: list[int] = []
        with closing(self._texts(numbers)) as texts:
            for number, text in zip(numbers, texts, strict=True):
                if not text:
                    (unread if text is None else empty).append(number)
                yield Page(number, self._label(number), text or "")
        if len(unread) == len(numbers):
            raise self._raw.error("none of its pages can be read: download it again, or repair it with qpdf")
        if len(unread) + len(empty) == len(numbers):
            raise self._without_text()
        self.warnings = [
            f"{_pages(which)} {state}"
            for which, state in ((empty, "without text (blank or scanned)"), (unread, "unreadable (damaged)"))
            if which
        ]

    def close(self) -> None:
        for workers in self._running:
            workers.close()
        self._raw.file.close()

    def _texts(self, numbers: Sequence[int]) -> Generator[str | None, None, None]:
        count = _worker_count(len(numbers)) if self._workers is None else self._workers
        workers = None
        if count > 0:
            with suppress(OSError):  # without the processes it takes longer, that is all
                workers = ExtractionWorkers(self._raw.reopen, self._raw.name, self._password, count=count)
        if workers is None:
            yield from map(self._file.extract, numbers)
            return
        self._running.append(workers)
        with closing(workers):
            yield from workers.extract(numbers)

    def _label(self, number: int) -> str | None:
        label = self._file.labels[number - 1] if self._file.labels else str(number)
        return label if label not in ("", str(number)) else None

    def _without_text(self) -> DocumentError:
        whole = self.selection == PageSelection(((1, self.source.page_count),))
        where = "" if whole else f" on pages {self.selection.canonical}"
        return self._raw.error(
            f"holds no text{where}: it looks scanned and needs OCR first (for instance with ocrmypdf)"
        )


def _worker_count(pages: int) -> int:
    if pages <= _FEW_PAGES:
        return 0
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, max(1, processors - 1))


def _pages(numbers: Sequence[int]) -> str:
    listed = PageSelection.of(numbers).canonical.replace(",", ", ")
    return f"page {listed}:" if len(numbers) == 1 else f"pages {listed}:"

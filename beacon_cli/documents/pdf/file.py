"""A PDF through pypdf: opened, checked for being whole, its pages extracted one at a time.

Of pypdf's exceptions only their first words get out, in a `DocumentError`. Runs in the reading process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import BinaryIO, Literal

from pypdf import PageObject, PdfReader
from pypdf.errors import PyPdfError
from pypdf.generic import DictionaryObject

from beacon_cli.documents.content import Extras, Outcome, PageContent, RunningHead
from beacon_cli.documents.pdf import extras, running_heads
from beacon_cli.documents.pdf.annotations import visible_texts
from beacon_cli.documents.pdf.fonts import is_gibberish
from beacon_cli.documents.pdf.layout import LineCollector
from beacon_cli.documents.pdf.objects import FORMS_WITHIN_FORMS, attempt, drawn, within
from beacon_cli.documents.pdf.ocr import recognized
from beacon_cli.documents.pdf.pdfium import PdfiumReader
from beacon_cli.documents.pdf.rebuilding import rebuilt
from beacon_cli.documents.pdf.strokes import separated
from beacon_cli.documents.text.prose import clean, tidy_page
from beacon_cli.errors import DocumentError
from beacon_cli.quantities import counted

# Titles that programs make up.
_NO_TITLE = re.compile(
    r"(?i)untitled.*|unknown|title|document\d*|microsoft (word|powerpoint|excel) - .*|\S+\.(\w{2,4}|indd)|[\W\d_]*"
)
# pypdf keeps every object it has read; forgetting them now and then bounds its memory.
_FORGET_AFTER = 64
_INLINE_IMAGE = re.compile(rb"\bBI\b.{1,2000}?\bID\b", re.DOTALL)
_PAINTS = re.compile(rb"(?<!\S)(?:[fFSsBb]\*?|sh|Do)(?!\S)")
_REBUILT = "its table of objects is damaged and was made anew: something may be missing"
# A PDF ends like this; what follows may only be white space and zeros (some downloads are padded). What says where the
# table of objects is, before it, may be damaged: then that is made anew.
_END, _END_WITHIN = b"%%EOF", 2048


class _DamagedError(DocumentError):
    """A PDF that is not whole."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"is truncated or damaged ({reason}): download it again, or repair it "
            "(for instance: qpdf damaged.pdf repaired.pdf)"
        )


class PdfFile:
    """An open PDF with at least one page.

    Attributes: `page_count`; `title`, None unless someone gave it one.

    Raises `DocumentError` if it is encrypted and `password` does not open it (one that is not needed is ignored),
    if it is damaged beyond reading, or if fewer pages are found than it says it has. Damage that pypdf can repair
    with all pages in place is let pass.
    """

    def __init__(self, file: BinaryIO, password: str | None, *, ocr: bool = False) -> None:
        if not _is_there_to_its_end(file):
            raise _DamagedError("its end is missing")
        self._password, self._ocr = password, ocr
        self._outcomes: dict[int, Outcome] = {}  # of pages whose fonts do not tell their letters
        self._rebuilt = False
        try:
            self._open(file)
        except _DamagedError:
            if not self._open_rebuilt(file):
                raise
        self.title = attempt(self._title, None)
        self._extracted = 0
        # The pages whose edges were looked at are asked for next.
        self._lines = lru_cache(maxsize=2 * running_heads.MOST_SAMPLES)(self._extract)

    def _open(self, file: BinaryIO) -> None:
        """Raises `_DamagedError` for what may be read once it is rebuilt."""
        self._file = file
        try:
            self._reader = PdfReader(file)
            self._decrypt(self._password)
            self.page_count = len(self._reader.pages)
            declared = within(self._reader.root_object, "/Pages").get("/Count")
        except (DocumentError, MemoryError):
            raise
        except NotImplementedError as error:
            raise DocumentError(
                f"uses a PDF feature that cannot be read ({_brief(error)}): save or print it as another PDF"
            ) from error
        except Exception as error:  # pypdf raises whatever its parsing runs into
            told = isinstance(error, PyPdfError) and "b'" not in str(error)  # else it tells of pypdf, not of the file
            raise _DamagedError(_brief(error) if told else "its structure is broken") from error
        if isinstance(declared, int) and self.page_count < declared:
            raise _DamagedError(f"of {counted(declared, 'page')}, {self.page_count or 'none'} can be found")
        if self.page_count == 0:
            raise _DamagedError("it has no pages")

    def _open_rebuilt(self, file: BinaryIO) -> bool:
        for whole in rebuilt(file, self._password):
            try:
                self._open(whole)
            except DocumentError:
                continue
            self._rebuilt = True
            return True
        return False

    def has_text(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """Whether any page in `ranges` has fonts, or forms that may have some, or OCR may find it; extracts nothing."""
        return self._ocr or any(
            attempt(partial(self._may_hold_text, number), True)  # else extraction will tell
            for first, last in ranges
            for number in range(first, min(last, self.page_count) + 1)
        )

    def extras(self) -> Extras:
        """Page labels, bookmarks, and remarks on what is not read."""
        found = extras.extras(self._reader)
        return replace(found, notes=(_REBUILT, *found.notes)) if self._rebuilt else found

    def edges(self, number: int) -> tuple[str, ...]:
        """The first and last lines of page `number`, where running heads would be."""
        return running_heads.edges(self._lines(number) or "")

    def page(self, number: int, running: Sequence[RunningHead]) -> PageContent:
        """The text of page `number` (from 1), with what is written in its form fields, without running heads."""
        lines = self._lines(number)
        if lines is None:
            return PageContent("", "damaged")
        page = self._reader.pages[number - 1]
        text = tidy_page(running_heads.without(lines, number, running))
        shown = [written for written in visible_texts(page) if written not in text]
        text = "\n\n".join(filter(None, [text, "\n".join(shown)]))
        outcome = self._outcomes.get(number, "text")
        if text or (outcome == "garbled" and not self._ocr):
            return PageContent(text, outcome)
        there: Outcome = outcome if outcome == "garbled" else attempt(lambda: _what_is_there(page, lines), "drawn")
        if self._ocr and there in ("scanned", "garbled"):
            found = attempt(lambda: tidy_page(recognized(self._pdfium.image(number))), "")
            return PageContent(found, "recognized" if found else there)
        return PageContent("", there)

    def _may_hold_text(self, number: int) -> bool:
        page = self._reader.pages[number - 1]
        if "/Annots" in page or within(page, "/Resources", "/Font"):
            return True
        return any(entry.get("/Subtype") == "/Form" for entry in drawn(page))

    def _extract(self, number: int) -> str | None:
        self._extracted += 1
        if self._extracted % _FORGET_AFTER == 0:
            self._reader.resolved_objects.clear()
        collector = LineCollector()
        extracted = attempt(
            lambda: separated(self._reader.pages[number - 1]).extract_text(visitor_text=collector), None
        )
        if extracted is None:
            return None
        if collector.characters["collection"]:
            mapped = attempt(lambda: self._pdfium.text(number), "")
            if mapped or extracted.strip():
                self._outcomes[number] = "mapped" if mapped else "garbled"
            return mapped
        if is_gibberish(extracted, collector.characters["untold"]):
            self._outcomes[number] = "garbled"
            return ""
        return collector.text(extracted)

    @cached_property
    def _pdfium(self) -> PdfiumReader:
        return PdfiumReader(self._file, self._password)

    def _decrypt(self, password: str | None) -> None:
        if not self._reader.is_encrypted or self._reader.decrypt(""):
            return
        if password is None:
            raise DocumentError("is encrypted and needs a password: give it with --password")
        if not self._reader.decrypt(password):
            raise DocumentError("the password does not open it: check --password")

    def _title(self) -> str | None:
        metadata = self._reader.metadata
        title = " ".join(clean((metadata and metadata.title) or "").split())
        return None if len(title) > 200 or _NO_TITLE.fullmatch(title) else title


def _is_there_to_its_end(file: BinaryIO) -> bool:
    """Told without parsing it."""
    size, seen, content = file.seek(0, os.SEEK_END), 0, b""
    while len(content) < _END_WITHIN and seen < size:
        seen = min(size, 4 * seen + _END_WITHIN)
        file.seek(size - seen)
        content = file.read().rstrip(b"\0\t\n\f\r ")
    return _END in content[-_END_WITHIN:]


def _what_is_there(page: PageObject, lines: str) -> Literal["blank", "drawn", "scanned"]:
    """What a page shows that has no text; `lines` are running heads at most."""
    content = page.get_contents()
    data = b"" if content is None else content.get_data()
    if _INLINE_IMAGE.search(data) or _has_image(page, depth=0):
        return "scanned"
    return "drawn" if lines.strip() or _PAINTS.search(data) else "blank"


def _has_image(holder: DictionaryObject, depth: int) -> bool:
    return any(
        entry.get("/Subtype") == "/Image"
        or (entry.get("/Subtype") == "/Form" and depth < FORMS_WITHIN_FORMS and _has_image(entry, depth + 1))
        for entry in drawn(holder)
    )


def _brief(error: Exception) -> str:
    return clean(" ".join(str(error).split()) or type(error).__name__)[:80]

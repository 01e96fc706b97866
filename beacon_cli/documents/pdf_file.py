"""A PDF through pypdf: opened, checked for being whole, its pages extracted one at a time.

Nothing of pypdf gets out: no log line, no warning, and of its exceptions only their first words, in a
`DocumentError`. This module is all that a worker process imports, so it stays light.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from beacon_cli.documents.layout import LineCollector
from beacon_cli.documents.prose import clean, tidy_page
from beacon_cli.errors import DocumentError

# A PDF ends like this; what follows may only be white space and zeros (some downloads are padded).
_TRAILER = re.compile(rb"startxref\s*\d+\s*%%EOF")
_TRAILER_WITHIN = 2048
# Titles that programs make up.
_NO_TITLE = re.compile(
    r"(?i)untitled.*|unknown|title|document\d*|microsoft (word|powerpoint|excel) - .*|\S+\.(\w{2,4}|indd)|[\W\d_]*"
)
# pypdf keeps every object it has read; forgetting them now and then bounds its memory.
_FORGET_AFTER = 64


class PdfFile:
    """An open PDF with at least one page; `name` is for messages.

    Attributes: `page_count`; `title`, None unless someone gave it one; `labels`, the printed number of each
    page, empty if the PDF has none.

    Raises `DocumentError` if it is encrypted and `password` does not open it (one that is not needed is ignored),
    if it is damaged beyond reading, or if it is truncated: if its end is missing, or if fewer pages are found
    than it says it has. Damage that pypdf can repair with all pages in place is let pass.
    """

    def __init__(self, file: BinaryIO, name: str, password: str | None) -> None:
        self._name = name
        with _silence():
            if not _ends_properly(file):
                raise self._damaged("its end is missing")
            try:
                self._reader = PdfReader(file)
                self._decrypt(password)
                self.page_count = len(self._reader.pages)
                declared = self._declared_count()
            except DocumentError:
                raise
            except NotImplementedError as error:
                raise DocumentError(
                    f"{name}: uses a PDF feature that cannot be read ({_brief(error)}): save or print it as another PDF"
                ) from error
            except Exception as error:  # pypdf raises whatever its parsing runs into
                raise self._damaged(_brief(error)) from error
            if self.page_count < declared:
                raise self._damaged(f"only {self.page_count} of its {declared} pages are there")
            if self.page_count == 0:
                raise self._damaged("it has no pages")
            self.title = self._title()
            self.labels = self._labels()
        self._extracted = 0

    def may_hold_text(self, number: int) -> bool:
        """Whether page `number` (from 1) has fonts, or forms that may have some; quick, unlike `extract`."""
        with _silence():
            try:
                resources = _dictionary(self._reader.pages[number - 1].get("/Resources"))
                objects = map(_dictionary, _dictionary(resources.get("/XObject")).values())
                return bool(_dictionary(resources.get("/Font"))) or any(
                    entry.get("/Subtype") == "/Form" for entry in objects
                )
            except Exception:  # as above; extraction will tell
                return True

    def extract(self, number: int) -> str | None:
        """The text of page `number` (from 1), "" if it has none, None if its content cannot be read."""
        self._extracted += 1
        if self._extracted % _FORGET_AFTER == 0:
            self._reader.resolved_objects.clear()
        collector = LineCollector()
        with _silence():
            try:
                extracted = self._reader.pages[number - 1].extract_text(visitor_text=collector)
            except Exception:  # as above; one bad page does not spoil the rest
                return None
        return tidy_page(collector.text(extracted))

    def _decrypt(self, password: str | None) -> None:
        if not self._reader.is_encrypted or self._reader.decrypt(""):
            return
        if password is None:
            raise DocumentError(f"{self._name}: is encrypted and needs a password: give it with --password")
        if not self._reader.decrypt(password):
            raise DocumentError(f"{self._name}: the password does not open it: check --password")

    def _declared_count(self) -> int:
        count = _dictionary(self._reader.root_object["/Pages"]).get("/Count")
        return count if isinstance(count, int) else 0

    def _title(self) -> str | None:
        try:
            metadata = self._reader.metadata
            title = " ".join(clean((metadata and metadata.title) or "").split())
        except Exception:  # as above; a title is not worth failing for
            return None
        return None if _NO_TITLE.fullmatch(title) or len(title) > 200 else title

    def _labels(self) -> list[str]:
        try:
            if "/PageLabels" not in self._reader.root_object:
                return []
            return [" ".join(clean(label).split()) for label in self._reader.page_labels]
        except Exception:  # as above; page numbers will do
            return []

    def _damaged(self, reason: str) -> DocumentError:
        return DocumentError(
            f"{self._name}: is truncated or damaged ({reason}): download it again, or repair it "
            "(for instance: qpdf damaged.pdf repaired.pdf)"
        )


@contextmanager
def _silence() -> Iterator[None]:
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _ends_properly(file: BinaryIO) -> bool:
    end = _end_of_content(file)
    start = max(0, end - _TRAILER_WITHIN)
    file.seek(start)
    return _TRAILER.search(file.read(end - start)) is not None


def _end_of_content(file: BinaryIO) -> int:
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _TRAILER_WITHIN)
        file.seek(start)
        content = file.read(end - start).rstrip(b"\0\t\n\f\r ")
        if content:
            return start + len(content)
        end = start
    return 0


def _dictionary(entry: Any) -> DictionaryObject:
    found = None if entry is None else entry.get_object()
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


def _brief(error: Exception) -> str:
    return clean(" ".join(str(error).split()) or type(error).__name__)[:80]

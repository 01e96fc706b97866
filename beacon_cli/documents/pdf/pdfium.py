"""A second reader of PDF for what pypdf cannot: PDFium knows the letters of Adobe's character collections."""

from __future__ import annotations

import os
from typing import BinaryIO

import pypdfium2


class PdfiumReader:
    """A PDF that pypdf has opened too, with the same password."""

    def __init__(self, file: BinaryIO, password: str | None) -> None:
        file.seek(0, os.SEEK_SET)
        self._document = pypdfium2.PdfDocument(file.read(), password=password)

    def text(self, number: int) -> str:
        """The text of page `number`, from 1, a line for each of its own."""
        page = self._document[number - 1]
        lines = page.get_textpage().get_text_range()
        return str(lines).replace("\ufffe", "-").replace("\x02", "-")

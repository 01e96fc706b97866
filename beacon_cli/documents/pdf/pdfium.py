"""A second reader of PDF for what pypdf cannot: PDFium knows the letters of Adobe's character collections."""

from __future__ import annotations

import os
from typing import BinaryIO

import pypdfium2

# Of an image for OCR, and the most pixels of a side.
_DOTS_PER_INCH, _LARGEST_SIDE = 300, 5000


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

    def image(self, number: int) -> bytes:
        """Page `number`, from 1, as a gray PNM image, fine enough to be read."""
        page = self._document[number - 1]
        scale = min(_DOTS_PER_INCH / 72, _LARGEST_SIDE / max(page.get_size()))
        bitmap = page.render(scale=scale, grayscale=True)
        rows = memoryview(bitmap.buffer).cast("B")
        lines = (rows[line * bitmap.stride :][: bitmap.width] for line in range(bitmap.height))
        return b"P5\n%d %d\n255\n" % (bitmap.width, bitmap.height) + b"".join(lines)

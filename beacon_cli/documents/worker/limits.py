"""What reading a hostile document may cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from beacon_cli.documents.content import Kind


@dataclass(frozen=True)
class Limits:
    """Bounds for the process that reads a document.

    Attributes:
        open_seconds: wall time for opening the document, and again for its bookmarks and labels.
        open_seconds_per_mb: more wall time for every megabyte of what is read whole on opening: all kinds but PDF.
        page_seconds: wall time for one page.
        ocr_page_seconds: wall time for one page where OCR reads pages.
        all_seconds, all_seconds_per_page: wall time for all pages, and more of it for each of them.
        memory: bytes of address space.
        page_characters: of text; what goes beyond is left out.
        lost_pages: that take too much before the document is given up.
    """

    open_seconds: float = 20.0
    open_seconds_per_mb: float = 2.0
    page_seconds: float = 8.0
    ocr_page_seconds: float = 60.0
    all_seconds: float = 120.0
    all_seconds_per_page: float = 1.0
    memory: int = 1 << 30
    page_characters: int = 1_000_000
    lost_pages: int = 3

    def applied(self, kind: Kind, size: int, *, ocr: bool) -> Limits:
        """The same for a document of `size` bytes, whose pages may be given to OCR."""
        whole = 0 if kind == "pdf" else self.open_seconds_per_mb * size / 1e6
        limits = replace(self, open_seconds=self.open_seconds + whole)
        if not ocr:
            return limits
        return replace(limits, page_seconds=self.ocr_page_seconds, all_seconds_per_page=self.ocr_page_seconds)

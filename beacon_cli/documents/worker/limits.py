"""What reading a hostile document may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds for the process that reads a document.

    Attributes:
        open_seconds: wall time for opening the document, and again for its bookmarks and labels.
        page_seconds: wall time for one page.
        memory: bytes of address space.
        page_characters: of text; what goes beyond is left out.
        lost_pages: that take too much before the document is given up.
    """

    open_seconds: float = 20.0
    page_seconds: float = 8.0
    memory: int = 1 << 30
    page_characters: int = 1_000_000
    lost_pages: int = 3

"""From a path on the command line to an open document."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from beacon_cli.documents.content import Kind
from beacon_cli.documents.document import Document
from beacon_cli.documents.magic import OLE, looks_like
from beacon_cli.documents.pdf.ocr import check_ocr
from beacon_cli.documents.raw import RawFile, in_memory, open_raw
from beacon_cli.documents.selection import PageSelection
from beacon_cli.documents.worker.limits import Limits
from beacon_cli.documents.worker.process import started_ahead

_KINDS: dict[str, Kind] = {
    ".pdf": "pdf",
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".epub": "epub",
    ".docx": "docx",
    ".docm": "docx",
    ".dotx": "docx",
    ".dotm": "docx",
    "": "text",
}
# What a folder's documents end in.
SUFFIXES = frozenset(_KINDS) - {""}
SUPPORTED = "PDF, .txt, .md, .html, .epub and .docx"
# Readers of PDF accept junk before the header, but no further in than this.
_PDF_HEADER_WITHIN = 1024


def open_document(
    path: str,
    *,
    password: str | None = None,
    pages: PageSelection | None = None,
    limits: Limits | None = None,
    text: str | None = None,
) -> Document:
    """Open the document at `path`, or standard input for `-`: a PDF, text, Markdown, HTML, EPUB or Word file.

    What starts like a PDF is read as one whatever it is called; otherwise the suffix decides, and a name without
    one (like standard input) is plain text. `pages` selects pages (default: all), and OCR. It is read by another
    process within `limits`. With a `text`, that is the document, and `path` is only what it is called.

    Raises `DocumentError`, always one line that names the file: missing, a directory, not permitted, empty, of a
    kind that cannot be read, encrypted (no or a wrong `password`), damaged, beyond the limits, without text, without
    the pages asked for. `Document` says more about each.
    """
    raw = open_raw(path) if text is None else in_memory(path, text.encode("utf-8", "replace"))
    try:
        kind = _kind(raw) if text is None else "text"
        selection = pages or PageSelection.all()
        if selection.ocr and kind == "pdf":
            check_ocr(raw.name)
        elif selection.ocr:  # there is nothing to recognize in other kinds
            selection = replace(selection, ocr=False)
        return Document(raw, selection, kind, password=password, limits=limits or Limits())
    except OSError as error:
        raw.file.close()
        raise raw.error(f"cannot be read ({error.strerror}): check the disk it is on") from error
    except BaseException:
        raw.file.close()
        raise


@contextmanager
def opening_ahead(paths: Sequence[str]) -> Iterator[None]:
    """Get ready, beside what this process does in the block, to open the first of these in it, if it is a file."""
    kind = _KINDS.get(Path(paths[0]).suffix.lower()) if paths and os.path.isfile(paths[0]) else None
    with nullcontext() if kind is None else started_ahead(kind):
        yield


def _kind(raw: RawFile) -> Kind:
    if raw.head.startswith(b"%PDF-"):
        return "pdf"
    suffix = "" if raw.path is None else Path(raw.path).suffix.lower()
    kind = _KINDS.get(suffix)
    if kind is None:
        raise raw.error(f"{suffix} is not supported, only {SUPPORTED}: convert it, or pipe its text into `-`")
    seen = looks_like(raw.head)
    if kind == "pdf" and b"%PDF-" not in raw.head[:_PDF_HEADER_WITHIN]:
        raise raw.error(f"is called a PDF but {f'is {seen}' if seen else 'is none'}: download it again")
    if kind == "docx" and raw.head.startswith(OLE):
        raise raw.error("is an old Word file or has a password: save it in Word or LibreOffice as .docx, without one")
    if kind in ("epub", "docx") and not raw.head.startswith(b"PK"):
        raise raw.error(f"is called {suffix} but is {seen or 'none'}: give it the suffix of what it is")
    if kind in ("text", "markdown", "html") and b"\0" in raw.head and seen:
        raise raw.error(f"is not text but {seen}: give it the suffix of what it is, if beacon reads that")
    return kind

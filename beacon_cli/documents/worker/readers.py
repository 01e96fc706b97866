"""Which module reads which kind of document; each is imported only when it is needed, as are its libraries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import BinaryIO

from beacon_cli.documents.content import DocumentFile, Kind, WholeFile
from beacon_cli.documents.text.prose import one_line
from beacon_cli.errors import DocumentError

# What the extra `formats` installs, by the kind that needs it.
_LIBRARIES: dict[Kind, tuple[str, ...]] = {
    "html": ("lxml", "selectolax", "webencodings"),
    "epub": ("lxml", "selectolax", "webencodings"),
    "docx": ("lxml",),
}


def open_file(kind: Kind, file: BinaryIO, name: str, password: str | None, *, ocr: bool = False) -> DocumentFile:
    """Open a document; `DocumentError`, which begins with its `name`, if it cannot be read."""
    try:
        return _open(kind, file, password, ocr)
    except DocumentError as error:
        raise DocumentError(f"{name}: {error}") from error
    except MemoryError:
        raise
    except OSError as error:
        raise DocumentError(f"{name}: cannot be read ({error.strerror}): check the disk it is on") from error
    except Exception as error:  # whatever parsing a damaged file runs into
        reason = one_line(str(error), 80) or type(error).__name__
        raise DocumentError(f"{name}: cannot be read as {kind} ({reason}): save or download it again") from error


def prepare(kind: Kind) -> None:
    """Import what reads such documents; whoever opens one is told what is wrong with that."""
    with suppress(Exception):
        if kind == "pdf":
            import_module("beacon_cli.documents.pdf.file")
        else:
            _reader(kind)


def _open(kind: Kind, file: BinaryIO, password: str | None, ocr: bool) -> DocumentFile:
    if missing := [library for library in _LIBRARIES.get(kind, ()) if find_spec(library) is None]:
        raise DocumentError(
            f"reading {kind} files needs {' and '.join(missing)}: "
            "install beacon with its formats (pip install 'beacon-cli[formats]')"
        )
    if kind == "pdf":
        from beacon_cli.documents.pdf.file import PdfFile  # noqa: PLC0415  only what this kind needs

        return PdfFile(file, password, ocr=ocr)
    document = _reader(kind)(file)
    if not document.has_text([(1, document.page_count)]):
        why = "; ".join(document.extras().notes)
        raise DocumentError(f"holds no text{f' ({why})' if why else ''}: there is nothing to read")
    return document


def _reader(kind: Kind) -> Callable[[BinaryIO], WholeFile]:
    if kind == "html":
        from beacon_cli.documents.flow.html import read_html as read  # noqa: PLC0415  optional dependencies
    elif kind == "epub":
        from beacon_cli.documents.flow.epub import read_epub as read  # noqa: PLC0415  optional dependencies
    elif kind == "docx":
        from beacon_cli.documents.flow.word.document import read_docx as read  # noqa: PLC0415  optional dependencies
    elif kind == "markdown":
        from beacon_cli.documents.text.markdown import read_markdown as read  # noqa: PLC0415  only what this kind needs
    else:
        from beacon_cli.documents.text.text import read_text as read  # noqa: PLC0415  only what this kind needs
    return read

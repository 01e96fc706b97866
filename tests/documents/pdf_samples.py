"""PDFs written by hand, so that tests know every byte."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from pypdf import PdfReader, PdfWriter


def assemble(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    data = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return data + b"trailer\n<</Root 1 0 R/Size %d%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)


def pdf(
    pages: Sequence[str | bytes | None], *, catalog: bytes = b"", info: bytes = b"", count: int | None = None
) -> bytes:
    """A PDF with one page an entry: its lines, or a raw content stream, or None for one without fonts (a scan).

    Lines are set 14 points apart, empty ones included. `count` is what the page tree declares.
    """
    kids = b" ".join(b"%d 0 R" % (5 + 2 * i) for i in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages) if count is None else count),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        b"<<%s>>" % info,
    ]
    for i, page in enumerate(pages):
        fonts = b"" if page is None else b"/Font<</F1 3 0 R>>"
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<<%s>>/Contents %d 0 R>>" % (fonts, 6 + 2 * i)
        )
        content = page if isinstance(page, bytes) else _show(page or "")
        objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content))
    return assemble(objects, b"/Info 4 0 R")


def encrypted(data: bytes, password: str, algorithm: str, owner: str | None = None) -> bytes:
    """The same PDF with a password; `algorithm` as pypdf names it, for instance AES-256."""
    writer = PdfWriter(clone_from=PdfReader(BytesIO(data)))
    writer.encrypt(password, owner, algorithm=algorithm)
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


def _show(text: str) -> bytes:
    lines = (line.encode("cp1252").replace(b"(", b"\\(").replace(b")", b"\\)") for line in text.split("\n"))
    return b"BT /F1 12 Tf 14 TL 50 750 Td " + b"".join(b"(%s) Tj T* " % line for line in lines) + b"ET"

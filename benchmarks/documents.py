"""What reading costs by the size of a document, for each kind: seconds of processor time, without Python's imports.

    python benchmarks/documents.py [MEGABYTES...]

Sizes are those of the text, by default 1, 2, 4 and 8 MB of an example book, over and over; 3 kB on a page of a PDF.
"""

import io
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

from beacon_cli.documents.content import Kind
from beacon_cli.documents.worker.readers import open_file

BOOK = (Path(__file__).parents[1] / "examples" / "the-time-machine.txt").read_text(encoding="utf-8")
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def paragraphs(size: int) -> Iterator[str]:
    """So many bytes of the book, paragraph by paragraph."""
    while size > 0:
        for part in BOOK.split("\n\n"):
            yield part
            size -= len(part) + 2
            if size <= 0:
                return


def zipped(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def text(size: int) -> bytes:
    return "\n\n".join(paragraphs(size)).encode()


def html(size: int) -> bytes:
    return "".join(f"<p>{escape(part)}</p>\n" for part in paragraphs(size)).encode()


def docx(size: int) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{escape(part)}</w:t></w:r></w:p>" for part in paragraphs(size))
    related = f'<Relationship Type="{OFFICE}" Target="d.xml"/>'
    return zipped(
        {
            "_rels/.rels": f'<Relationships xmlns="{RELATIONS}">{related}</Relationships>',
            "d.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
        }
    )


def epub(size: int) -> bytes:
    parts = [f"<p>{escape(part)}</p>" for part in paragraphs(size)]
    chapters = {f"{start}.xhtml": "".join(parts[start : start + 100]) for start in range(0, len(parts), 100)}
    kind = 'media-type="application/xhtml+xml"'
    items = "".join(f'<item id="i{name}" href="{name}" {kind}/>' for name in chapters)
    spine = "".join(f'<itemref idref="i{name}"/>' for name in chapters)
    return zipped({"b.opf": f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>", **chapters})


def pdf(size: int) -> bytes:
    lines = [line.encode("latin-1", "replace") for part in paragraphs(size) for line in part.splitlines()]
    pages = [lines[start : start + 45] for start in range(0, len(lines), 45)]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages))]
    bodies.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
    for number, page in enumerate(pages):
        shown = (b"(%s) Tj T* " % line.translate(None, b"()\\") for line in page)
        content = b"BT /F 11 Tf 14 TL 50 750 Td " + b"".join(shown) + b"ET"
        resources = b"/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>"
        bodies.append(b"<</Type/Page/Parent 2 0 R%s/Contents %d 0 R>>" % (resources, 5 + 2 * number))
        bodies.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content))
    target, offsets = io.BytesIO(), list[int]()
    target.write(b"%PDF-1.7\n")
    for number, body in enumerate(bodies, 1):
        offsets.append(target.tell())
        target.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start, count = target.tell(), len(bodies) + 1
    target.write(b"xref\n0 %d\n0000000000 65535 f \n" % count)
    target.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    target.write(b"trailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (count, start))
    return target.getvalue()


KINDS: dict[Kind, Callable[[int], bytes]] = {
    "text": text,
    "markdown": text,
    "html": html,
    "epub": epub,
    "docx": docx,
    "pdf": pdf,
}


def seconds(kind: Kind, data: bytes) -> float:
    """Of processor time, for opening it and reading all of its pages."""
    began = time.process_time()
    document = open_file(kind, io.BytesIO(data), "a", None)
    characters = sum(len(document.page(number + 1, []).text) for number in range(document.page_count))
    taken = time.process_time() - began
    if not characters:
        raise RuntimeError(f"nothing of the {kind} was read")
    return taken


def main(sizes: list[float]) -> None:
    print("| kind |" + "".join(f" {size:g} MB |" for size in sizes) + "\n|" + "---|" * (1 + len(sizes)))
    for kind, make in KINDS.items():
        seconds(kind, make(10_000))  # what is done once
        taken = [seconds(kind, make(round(size * 1e6))) for size in sizes]
        print(f"| {kind} |" + "".join(f" {each:.2f} |" for each in taken), flush=True)


if __name__ == "__main__":
    main([float(size) for size in sys.argv[1:]] or [1, 2, 4, 8])

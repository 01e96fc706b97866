"""PDFs whose table of objects is missing or damaged: it is made anew, of the objects where they stand."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import pypdfium2

# A larger file, twice and with what is made of it, does not fit into the memory there is.
_LARGEST = 128 << 20
_OBJECT = re.compile(rb"(?<!\d)(\d{1,10})\s+(\d{1,5})\s+obj\b")
_ROOT = re.compile(rb"/Root\s+(\d{1,10}\s+\d{1,5}\s+R)")
_ENCRYPT = re.compile(rb"/(?:Encrypt\s+\d{1,10}\s+\d{1,5}\s+R|ID\s*\[[^\]]{0,300}\])")
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
# How far after the number of an object its type is looked for.
_WITHIN = 2000


def rebuilt(file: BinaryIO, password: str | None) -> Iterator[BinaryIO]:
    """What may be the same PDF with a table that is right, the likeliest first."""
    size = file.seek(0, os.SEEK_END)
    if size > _LARGEST:
        return
    file.seek(0)
    data = file.read()
    yield from _saved(data, password)
    with_table = _with_table(data)
    if with_table is not None:
        yield BytesIO(with_table)
        yield from _saved(with_table, password)


def _saved(data: bytes, password: str | None) -> Iterator[BinaryIO]:
    """As PDFium saves it, which finds objects by itself, those in compressed streams too."""
    try:
        document = pypdfium2.PdfDocument(data, password=password)
        target = BytesIO()
        document.save(target)
    except pypdfium2.PdfiumError:
        return
    yield target


def _with_table(data: bytes) -> bytes | None:
    """With a table of the objects that stand in it, later ones in place of earlier ones; None without a catalog."""
    offsets = {(int(found[1]), int(found[2])): found.start() for found in _OBJECT.finditer(data)}
    roots = _ROOT.findall(data) or [
        b"%d %d R" % number
        for number, start in offsets.items()
        if _CATALOG.search(data[start : start + _WITHIN].partition(b"endobj")[0])
    ]
    if not roots:
        return None
    generations = dict(sorted(offsets))  # the last of each number
    table = b"".join(
        b"%d 1\n%010d %05d n \n" % (number, offsets[number, generation], generation)
        for number, generation in generations.items()
    )
    encryption = b"".join({found.partition(b" ")[0]: found for found in _ENCRYPT.findall(data)}.values())
    trailer = b"<</Root %s/Size %d%s>>" % (roots[-1], max(generations, default=0) + 1, encryption)
    body = data + b"\n"
    return body + b"xref\n%strailer\n%s\nstartxref\n%d\n%%%%EOF\n" % (table, trailer, len(body))

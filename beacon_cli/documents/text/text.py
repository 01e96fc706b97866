"""Plain text: decoding, and cutting into pages."""

from __future__ import annotations

import re
from typing import BinaryIO

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.magic import looks_like
from beacon_cli.documents.text.decoding import decode
from beacon_cli.documents.text.prose import clean, hard_wrap_width, unwrap
from beacon_cli.documents.text.slicing import slices
from beacon_cli.errors import DocumentError


def read_text(file: BinaryIO) -> WholeFile:
    """A plain text, `decode` tells in which encoding; what is text in none is refused."""
    text, notes = decoded(file.read())
    return WholeFile([(None, page) for page in text_pages(text)], notes=notes)


def decoded(data: bytes) -> tuple[str, list[str]]:
    """The text of a file, cleaned, and remarks on how it was decoded."""
    try:
        text, notes = decode(data)
    except ValueError as error:
        if seen := looks_like(data[:4096]):
            raise DocumentError(
                f"is not text but {seen}: give it the suffix of what it is, if beacon reads that"
            ) from error
        raise DocumentError(
            f"is not text in any known encoding (byte {error.args[0]}): convert it to UTF-8 first"
        ) from error
    return clean(text), notes


def text_pages(text: str) -> list[str]:
    """The pages of a clean plain text, unwrapped if its lines are wrapped by hand."""
    width = hard_wrap_width(text.replace("\f", "\n\n"))
    if width is not None:
        text = "\f".join(unwrap(page, width) for page in text.split("\f"))
    return [tidied(part) for part in parts(text)]


def parts(text: str) -> list[str]:
    """A text cut into pages after form feeds; without any, into `slices`."""
    given = re.split(r"(?<=\f)", text.rstrip("\f\n"))
    return given if len(given) > 1 else list(slices(given[0]))


def tidied(part: str) -> str:
    """One of the `parts` as a page."""
    return part.strip("\f\n") if part.strip() else ""

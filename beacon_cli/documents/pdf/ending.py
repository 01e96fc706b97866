"""Whether a PDF is there to its end: told without parsing it."""

from __future__ import annotations

import os
from typing import BinaryIO

from beacon_cli.errors import DocumentError

# A PDF ends like this; what follows may only be white space and zeros (some downloads are padded). What says where the
# table of objects is, before it, may be damaged: then that is made anew.
_END = b"%%EOF"
_WITHIN = 2048


def check_ending(file: BinaryIO) -> None:
    """Refuse, with `DocumentError`, a PDF whose end is missing."""
    if not _ends_properly(file):
        raise damaged("its end is missing")


def damaged(reason: str) -> DocumentError:
    """What is said of a PDF that is not whole."""
    return DocumentError(
        f"is truncated or damaged ({reason}): download it again, or repair it "
        "(for instance: qpdf damaged.pdf repaired.pdf)"
    )


def _ends_properly(file: BinaryIO) -> bool:
    end = _end_of_content(file)
    start = max(0, end - _WITHIN)
    file.seek(start)
    return _END in file.read(end - start)


def _end_of_content(file: BinaryIO) -> int:
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _WITHIN)
        file.seek(start)
        content = file.read(end - start).rstrip(b"\0\t\n\f\r ")
        if content:
            return start + len(content)
        end = start
    return 0

"""What the process that reads a document and the one that wants it say to each other: JSON, one message a line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Reader = Literal["pdf", "epub", "docx", "html"]
Outcome = Literal["text", "blank", "drawn", "scanned", "damaged", "lost"]


@dataclass(frozen=True)
class Opening:
    """The first message to the reading process; `data_size` bytes of document follow it if there is no `path`.

    `stamp` is what the file looked like when it was named; `ranges` are the pages asked for, from 1.
    """

    reader: Reader
    name: str
    path: str | None
    stamp: tuple[int, ...]
    data_size: int
    password: str | None
    ranges: tuple[tuple[int, int], ...]
    memory: int
    page_characters: int
    page_seconds: float


@dataclass(frozen=True)
class Facts:
    """The answer to `Opening`. `has_text` is False if it is plain without extraction that no page has any."""

    page_count: int
    title: str | None
    has_text: bool


@dataclass(frozen=True)
class Extras:
    """What helps to cite a document and is not worth failing for.

    `labels` and `sections` (bookmarks, headings) have one entry a page, or none at all; `notes` are one-line remarks.
    """

    labels: tuple[str, ...] = ()
    sections: tuple[str | None, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PageContent:
    """One page's text, and what it means if there is none.

    blank: nothing is on it. drawn: something is, but no text. scanned: an image. damaged: it cannot be read.
    lost: reading it took more time or memory than there is, or crashed. `cut` tells that the text was too long.
    """

    text: str
    outcome: Outcome
    cut: bool = False


def encode(message: Opening | Facts | Extras | PageContent | dict[str, Any]) -> bytes:
    """A message as a line."""
    fields = message if isinstance(message, dict) else asdict(message)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The fields of a message."""
    fields: dict[str, Any] = json.loads(line)
    return fields

"""What the process that reads a document and the one that wants it say to each other: JSON, one message a line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from beacon_cli.documents.content import Extras, Kind, PageContent
from beacon_cli.documents.worker.limits import Limits


@dataclass(frozen=True)
class Opening:
    """The first message to the reading process; `data_size` bytes of document follow it if there is no `path`.

    `stamp` is what the file looked like when it was named; `ranges` are the pages asked for, from 1; `limits` are those
    of this document.
    """

    kind: Kind
    name: str
    path: str | None
    stamp: tuple[int, ...]
    data_size: int
    password: str | None
    ranges: tuple[tuple[int, int], ...]
    ocr: bool
    limits: Limits


@dataclass(frozen=True)
class Facts:
    """The answer to `Opening`. `has_text` is False if it is plain without extraction that no page has any."""

    page_count: int
    title: str | None
    has_text: bool


def encode(message: Opening | Facts | Extras | PageContent | dict[str, Any]) -> bytes:
    """A message as a line; file names may hold lone surrogates."""
    fields = message if isinstance(message, dict) else asdict(message)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The fields of a message."""
    fields: dict[str, Any] = json.loads(line)
    return fields

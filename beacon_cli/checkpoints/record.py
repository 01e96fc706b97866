"""What is written beside a converted model: where it is from, and how it was made."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from beacon_cli.errors import ModelError

RECORD_FILE = "beacon_model.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Record:
    """Content of `beacon_model.json`.

    Attributes:
        source: the hub id or the folder that it was made of.
        revision: the commit of a hub repository; None for a folder.
        stamp: what the source's files looked like (sizes and times), where it was a folder.
        generation: which of the authors' releases wrote the checkpoint: v1, between or v2.
        base: the base model's name.
        window: tokens in an interval.
        ratios: condensing ratios that it was trained for.
        licence: as the repository's README names it; empty if it does not.
        beacon_bits: 16 or 4.
        source_bytes: of the checkpoint's weights.
        created: ISO time.
        tool_version: of this tool.
    """

    source: str
    revision: str | None
    stamp: str | None
    generation: str
    base: str
    window: int
    ratios: list[int]
    licence: str
    beacon_bits: int
    source_bytes: int
    created: str
    tool_version: str


def write_record(folder: Path, record: Record) -> None:
    """Write it into a model's folder."""
    document = {"format_version": FORMAT_VERSION, **asdict(record)}
    (folder / RECORD_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """Read it.

    Raises:
        ModelError: if it is missing, damaged, or of another version of the format.
    """
    path = folder / RECORD_FILE
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        version = document.pop("format_version")
        if version == FORMAT_VERSION and set(document) == {field.name for field in fields(Record)}:
            return Record(**document)
        reason = f"format version {version!r}, or keys that this version does not know"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error)
    raise ModelError(f"{path} cannot be used ({reason}): remove the model with `beacon models rm` and convert it again")

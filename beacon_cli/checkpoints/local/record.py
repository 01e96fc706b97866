"""What is written beside a converted model: where it is from, and how it was made."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as short_repr

from beacon_cli.durable.records import from_json, parse
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
        generation: which of the authors' releases wrote the checkpoint: v1, between, ultragist or v2; gguf for a file.
        base: the base model's name.
        window: tokens in an interval; None without a beacon.
        ratios: condensing ratios that it was trained for; empty without a beacon.
        licence: as the repository's README names it; empty if it does not.
        beacon_bits: 16 or 4.
        weight_bits: of the base model's: 4, or 16 for what is not to be quantized any more.
        source_bytes: of the checkpoint's weights.
        created: ISO time.
        tool_version: of this tool.
        prompts: how what it was trained on is put; empty if not known.
    """

    source: str
    revision: str | None
    stamp: str | None
    generation: str
    base: str
    licence: str
    beacon_bits: int
    source_bytes: int
    created: str
    tool_version: str
    window: int | None = None
    ratios: tuple[int, ...] = ()
    weight_bits: int = 4
    prompts: str = ""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ValueError(f"window is {self.window}")
        if self.beacon_bits not in (4, 16):
            raise ValueError(f"beacon_bits is {self.beacon_bits}, not 4 or 16")
        if self.weight_bits not in (4, 16):
            raise ValueError(f"weight_bits is {self.weight_bits}, not 4 or 16")


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
        document = from_json(path.read_bytes())
        if isinstance(document, dict) and (version := document.pop("format_version", None)) != FORMAT_VERSION:
            raise ValueError(f"it has format version {short_repr(version)}, and this tool reads {FORMAT_VERSION}")
        # What was converted before there were such entries has none.
        return parse(Record, {"weight_bits": 4, "prompts": "", **document} if isinstance(document, dict) else document)
    except OSError as error:
        reason = error.strerror
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise ModelError(f"{path} cannot be used ({reason}): remove the model with `beacon models rm` and convert it again")

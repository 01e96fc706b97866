"""Text that may come from a document or a file's name, made fit for a terminal."""

import json
import re
from typing import Any

from rich.cells import cell_len, set_cell_size

# Sequences that move the cursor, colour, rename the window …: CSI, OSC (with its end), and those of two characters.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
)
# The C0 and C1 control characters, and those that turn the direction of writing; lines and tabs stay.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What JSON must escape besides: these, and halves of characters, which a file's name that is no UTF-8 has.
_UNSAFE = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """`text` without anything that a terminal would obey."""
    text = text.encode("utf-8", "replace").decode()  # bytes of a file's name that are no UTF-8
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))


def one_line(text: str) -> str:
    """`text` without anything that a terminal would obey, lines and tabs included."""
    return " ".join(plain(text).split())


def to_json(value: Any) -> str:
    """JSON for people and machines, with every control character as an escape."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False, indent=2))


def shortened(text: str, width: int) -> str:
    """`text`, if it takes no more than `width` columns; else its beginning and an ellipsis."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"[:width]

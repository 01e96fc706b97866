"""Texts for all to read, put in place at once, and files of JSON values, a line each, that grow line by line.

Every function here raises OSError where the disk does not do what it should.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


def replace_text(path: Path, text: str) -> None:
    """Put a file in place: whatever interrupts it, what was there stays whole."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def read_lines(path: Path) -> list[Any]:
    """The values in a file, None for a line that a killed process wrote in part; empty if there is no such file."""
    if not path.exists():
        return []
    return [_parsed(line) for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line]


def add_line(path: Path, value: Any) -> None:
    """Add a value."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(value))


def rewrite_lines(path: Path, values: Iterable[Any]) -> None:
    """Put a file of these values in place, see `replace_text`."""
    replace_text(path, "".join(map(_line, values)))


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None

"""Word lists kept as text: one list a line, `name: item, item`; a lone hyphen is the empty item."""

from __future__ import annotations

from pathlib import Path


def read(file: str) -> dict[str, list[str]]:
    """Name -> items of every list in a file of this folder."""
    found: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines():
        name, _, items = line.partition(": ")
        found[name] = ["" if item == "-" else item for item in items.split(", ")]
    return found

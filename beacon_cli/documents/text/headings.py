"""The headings above a place in a text, as one line: "Iceland › Geography"."""

from __future__ import annotations

from beacon_cli.documents.text.prose import one_line

LONGEST_HEADING = 120

# Level and text of each, outermost first.
Path = tuple[tuple[int, str], ...]


def under(path: Path, level: int, heading: str) -> Path:
    """The headings above what follows `heading`, which stands under `path`."""
    text = one_line(heading, LONGEST_HEADING)
    return (*(above for above in path if above[0] < level), (level, text)) if text else path


def section(path: Path) -> str | None:
    """A path as one line, what is said twice once; None for an empty one."""
    return " › ".join(dict.fromkeys(text for _, text in path)) or None

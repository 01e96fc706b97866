"""Places in documents: pages as links where the terminal knows them, and the words that were looked for marked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.style import Style
from rich.text import Text

from beacon_cli.console.text import one_line, plain


def page_text(
    document: str, page: int, label: str | None, section: str | None, *, several: bool, paths: Mapping[str, str]
) -> Text:
    """ "book.pdf, p. iv (Preface)"; a link to the page where `paths` knows the document's file.

    Args:
        several: whether documents must be named.
    """
    text = Text()
    if several:
        text.append(f"{one_line(document)}, ")
    text.append(f"p. {one_line(label or str(page))}", _link(paths.get(document), page))
    if section:
        text.append(f" ({one_line(section)})")
    return text


def marked_text(text: str, spans: Sequence[tuple[int, int]]) -> Text:
    """A passage with these stretches of it marked, without anything that a terminal would obey."""
    made, last = Text(), 0
    for first, end in spans:
        made.append(plain(text[last:first]))
        made.append(plain(text[first:end]), "bold yellow")
        last = end
    return made.append(plain(text[last:]))


def _link(path: str | None, page: int) -> Style:
    if path is None:
        return Style()
    fragment = f"#page={page}" if path.lower().endswith(".pdf") else ""
    return Style(link=Path(path).as_uri() + fragment)

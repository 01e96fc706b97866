"""Places in documents: pages as links where the terminal knows them, and the words that were looked for marked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.style import Style
from rich.text import Text

from beacon_cli.console.text import one_line, plain

if TYPE_CHECKING:
    from beacon_cli.answering.passages import Place


class Named(Protocol):
    """A document: its name, and its file, if it is one."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str | None: ...


def page_text(place: "Place", documents: Sequence[Named]) -> Text:
    """ "book.pdf, p. iv (Preface)"; a link to the page of a document that is a file, named if there are several."""
    text = Text()
    if len(documents) > 1:
        text.append(f"{one_line(place.document)}, ")
    path = next((document.path for document in documents if document.name == place.document), None)
    text.append(f"p. {one_line(place.label or str(place.page))}", _link(path, place.page))
    if place.section:
        text.append(f" ({one_line(place.section)})")
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

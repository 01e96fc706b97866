"""The text of a condensed document, page by page, so that an answer can quote it and say where it stands."""

from dataclasses import dataclass
from pathlib import Path

from beacon_cli.cache.damage import DamageError, read_checked
from beacon_cli.cache.manifest import Manifest
from beacon_cli.durable.records import from_json, parse


@dataclass(frozen=True)
class PageText:
    """One page.

    Attributes:
        number: its number in the document, from 1.
        label: what the document itself calls it ("iv", "12").
        text: its text.
        first_token, end_token: its tokens, the last one excluded, as positions in the stream (prompt prefix included).
        section: the headings that it stands under, outermost first, as one line; None if the document names none.
    """

    number: int
    label: str
    text: str
    first_token: int
    end_token: int
    section: str | None = None

    def __post_init__(self) -> None:
        if self.number < 1 or self.first_token > self.end_token:
            raise ValueError("a page has an impossible number or token span")


@dataclass(frozen=True)
class Pages:
    """All pages that were read, in the order in which they were read."""

    pages: tuple[PageText, ...]

    def check_span(self, tokens: int) -> None:
        """Refuse, with ValueError, pages that reach beyond a stream of `tokens` tokens."""
        if any(page.end_token > tokens for page in self.pages):
            raise ValueError(f"a page reaches beyond the {tokens} tokens of the document")


def read_pages(folder: Path, manifest: Manifest) -> tuple[PageText, ...]:
    """The pages of a complete cache.

    Raises:
        CacheError: if the cache is not complete, or its page texts are missing or damaged.
    """
    if manifest.pages is None:
        raise DamageError(folder, "the document has not been read to its end yet")
    path = folder / manifest.pages.file_name
    data = read_checked(path, manifest.pages.size, manifest.pages.sha256)
    try:
        pages = parse(Pages, from_json(data))
        pages.check_span(manifest.tokens)
    except (ValueError, RecursionError) as error:
        raise DamageError(folder, f"{path.name} is malformed: {error}") from error
    return pages.pages

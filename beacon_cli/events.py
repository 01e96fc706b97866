"""What the workflows say while they work; `console` draws it."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """A stage without measurable progress has begun: "loading smollm2-135m"."""

    text: str


@dataclass(frozen=True)
class Note:
    """A remark for the user, in one line."""

    text: str


@dataclass(frozen=True)
class Transfer:
    """A stage that is measured in bytes goes on: "downloading", `done` of `total` so far."""

    text: str
    done: int
    total: int


@dataclass(frozen=True)
class Counting:
    """A stage that is counted goes on: "passkey, beacon 8x", `done` of `total` so far."""

    text: str
    done: int
    total: int


@dataclass(frozen=True)
class Reading:
    """Reading has begun.

    Attributes:
        name: of the document.
        pages: that are to be read.
        pages_read, tokens_read: what of them is there already.
        condensed: tokens that are condensed already.
    """

    name: str
    pages: int
    pages_read: int
    tokens_read: int
    condensed: int = 0


@dataclass(frozen=True)
class PageRead:
    """One more page's text is there: `pages` so far, `tokens` in all of them."""

    pages: int
    tokens: int


@dataclass(frozen=True)
class IntervalDone:
    """One more interval is condensed: `tokens` so far, to `rows` of memory."""

    tokens: int
    rows: int


@dataclass(frozen=True)
class Condensed:
    """A whole document is in memory.

    Attributes:
        name: of the document.
        tokens: it has.
        rows: of memory that they take, the raw tokens of the unfinished interval included.
        ratio: condensing ratio.
        condensed_now: tokens that were condensed by this run; 0 if the cache had them all.
        pages: that were read.
        cache_path: where the cache is; None without one.
        warnings: one-line remarks on pages that could not be read as they should.
        seconds: spent, by stage.
        from_cache: whether all of it was in the cache before.
        foreign: whether what is in the cache was imported and something of it has to be believed.
        without_document: whether it was asked for by its key, so that nothing was compared with the document.
    """

    name: str
    tokens: int
    rows: int
    ratio: int
    condensed_now: int
    pages: int
    cache_path: str | None
    warnings: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    from_cache: bool = False
    foreign: bool = False
    without_document: bool = False


Event = Stage | Note | Transfer | Counting | Reading | PageRead | IntervalDone | Condensed
# What long work reports to, while it goes on.
Progress = Callable[[Event], object]


def silent(event: object) -> None:
    """A `Progress` that nobody looks at."""

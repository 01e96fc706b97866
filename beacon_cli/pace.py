"""How far reading a document is, what it goes at, and how long the rest takes."""

import time
from bisect import bisect_left
from collections import deque

from beacon_cli.events import IntervalDone, PageRead, Reading

# Seconds whose speed tells how long the rest takes.
LATELY = 20.0


class Speed:
    """How much is done in a second, lately: what is to come goes on like that."""

    def __init__(self, done: float) -> None:
        self._marks = deque([(time.monotonic(), done)])

    def at(self, done: float) -> float:
        """The speed, now that so much is done; 0 if nothing was since the beginning."""
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > LATELY:
            self._marks.popleft()
        then, before = self._marks[0]
        return max(done - before, 0.0) / max(now - then, 1e-3)


class ReadingPace:
    """Follows the events of reading one document; `Reading` begins it.

    Attributes:
        name: of the document.
        pages: that it has.
        done: tokens that are condensed.
        total: tokens that there are; a guess until all pages are read (`exact`).
        speed: tokens condensed a second, lately; 0 before the first ones.
    """

    def __init__(self, event: Reading) -> None:
        self.name, self.pages, self.done, self.speed = event.name, event.pages, event.condensed, 0.0
        # Pages that were read, and the tokens up to the end of each.
        self._read, self._ends = [0], [0]
        if event.pages_read:
            self._page_read(event.pages_read, event.tokens_read)
        self._speed = Speed(event.condensed)

    def update(self, event: PageRead | IntervalDone) -> None:
        if isinstance(event, PageRead):
            self._page_read(event.pages, event.tokens)
        else:
            self.done = event.tokens
        self.speed = self._speed.at(self.done)

    @property
    def pages_read(self) -> int:
        """Pages whose text is there."""
        return self._read[-1]

    @property
    def exact(self) -> bool:
        return self.pages_read >= self.pages

    @property
    def total(self) -> float:
        # How long the whole document is can only be guessed from the pages that are there.
        read, tokens = self._read[-1], self._ends[-1]
        return max(tokens * self.pages / read if read else 0.0, self.done, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """None while nothing tells."""
        return (self.total - self.done) / self.speed if self.speed else None

    @property
    def page(self) -> int:
        """The page that condensing is at."""
        after = min(bisect_left(self._ends, self.done), len(self._ends) - 1)
        if not after:
            return min(1, self.pages)
        pages, tokens = (self._read[after] - self._read[after - 1], self._ends[after] - self._ends[after - 1])
        part = pages * (self.done - self._ends[after - 1]) / max(tokens, 1)
        return min(self._read[after - 1] + max(-int(-part // 1), 1), self.pages)

    def _page_read(self, pages: int, tokens: int) -> None:
        self._read.append(pages)
        self._ends.append(tokens)

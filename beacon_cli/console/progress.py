"""How far long work is: on a terminal a line that changes, elsewhere a line now and then."""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from beacon_cli.console.text import one_line, shortened
from beacon_cli.events import Counting, IntervalDone, PageRead, Reading, Transfer
from beacon_cli.quantities import format_size
from beacon_cli.training.events import Saved, TrainingBegun, TrainStep, Validated

# Seconds between two lines off a terminal.
EVERY = 10.0
# Seconds whose speed tells how long the rest takes.
LATELY = 20.0
_LONGEST_BAR, _SHORTEST_BAR, _SHORTEST_NAME = 30, 8, 12
_GAP = "  "
# Columns that stay free at the end: a terminal writes ^C there, and what is wrapped for it cannot be taken away.
_FREE = 2


class Bar:
    """One line: what is done, how much of it, figures, the time left.

    Args:
        console: for stderr.
        name: of what is done.
        every: seconds between two lines off a terminal; None: `EVERY`.
    """

    def __init__(self, console: RichConsole, name: str, every: float | None = None) -> None:
        self._console, self._name, self._every = console, one_line(name), EVERY if every is None else every
        self._share, self._figures, self._left = 0.0, tuple[str, ...](), ""
        self._shown = time.monotonic()
        self._live: Live | None = None
        if can_move_cursor(console) and not console.quiet:
            self._live = Live(console=console, get_renderable=self._line, refresh_per_second=4, transient=True)
            self._live.start()

    def show(self, done: float, total: float, figures: Sequence[str], seconds_left: float | None) -> None:
        """Say how far it is; `figures` come in the order of importance."""
        self._share, self._figures = min(done / total, 1.0) if total else 0.0, tuple(figures)
        self._left = "" if seconds_left is None else f"{timedelta(seconds=round(seconds_left))} left"
        if self._live is None and time.monotonic() - self._shown >= self._every:
            self.say()

    def say(self, *more: str) -> None:
        """A line that stays."""
        parts = [f"{self._share:.0%}", *self._figures, *([self._left] if self._left else []), *more]
        self._console.print(Text(f"{self._name}: {', '.join(parts)}"))
        self._shown = time.monotonic()

    def stop(self) -> None:
        """Remove the line."""
        if self._live is not None:
            self._live.stop()

    def _line(self) -> Text:
        return bar_line(self._name, self._share, self._figures, self._left, self._console.width - _FREE)


def can_move_cursor(console: RichConsole) -> bool:
    """Whether it is a terminal that a line can change on. (`FORCE_COLOR` makes rich take anything for a terminal.)"""
    return console.file.isatty() and not console.is_dumb_terminal


def bar_line(name: str, share: float, figures: Sequence[str], left: str, width: int) -> Text:
    """The line that fits `width` columns: percentage and time left, then a name, figures, more of the name, a bar."""
    percent = f"{share:4.0%}"
    room = width - len(percent) - (len(_GAP) + len(left) if left else 0)
    least = min(cell_len(name), _SHORTEST_NAME, max(room - len(_GAP), 0))
    room -= least + len(_GAP) if least else 0
    fitting: list[str] = []
    for figure in figures:
        if len(_GAP) + len(figure) > room:
            break
        fitting.append(figure)
        room -= len(_GAP) + len(figure)
    name = shortened(name, least + max(min(room, width // 3 - least), 0)) if least else ""
    room -= cell_len(name) - least
    size = min(room - len(_GAP), _LONGEST_BAR)
    line = Text(name, no_wrap=True, overflow="crop")
    if size >= _SHORTEST_BAR:
        full = round(size * share)
        line.append(_GAP).append("━" * full, "cyan").append("╌" * (size - full), "dim")
    line.append(f"{_GAP if name else ''}{percent}", "bold")
    for part in (*fitting, *([left] if left else [])):
        line.append(_GAP + part)
    return line


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


class ReadingBar:
    """Tokens condensed of all, the page that they are on, tokens/s, time left. `Reading` begins it."""

    def __init__(self, console: RichConsole, event: Reading) -> None:
        self._bar = Bar(console, event.name)
        self._pages, self._condensed = event.pages, event.condensed
        # Pages that were read, and the tokens up to the end of each.
        self._read, self._ends = [0], [0]
        if event.pages_read:
            self._page_read(event.pages_read, event.tokens_read)
        self._speed = Speed(event.condensed)
        self._show()

    def update(self, event: PageRead | IntervalDone) -> None:
        if isinstance(event, PageRead):
            self._page_read(event.pages, event.tokens)
        else:
            self._condensed = event.tokens
        self._show()

    def stop(self) -> None:
        self._bar.stop()

    def _page_read(self, pages: int, tokens: int) -> None:
        self._read.append(pages)
        self._ends.append(tokens)

    def _show(self) -> None:
        read, tokens = self._read[-1], self._ends[-1]
        # How long the whole document is can only be guessed from the pages that are there.
        total = max(tokens * self._pages / read if read else 0.0, self._condensed, 1.0)
        speed = self._speed.at(self._condensed)
        figures = [f"{self._condensed:,}/{'' if read >= self._pages else '~'}{total:,.0f}"]
        figures += [f"{speed:,.0f} tokens/s"] if speed else ["tokens"]
        figures.append(f"page {self._page():,}/{self._pages:,}")
        self._bar.show(self._condensed, total, figures, (total - self._condensed) / speed if speed else None)

    def _page(self) -> int:
        """The page that condensing is at."""
        after = min(bisect_left(self._ends, self._condensed), len(self._ends) - 1)
        if not after:
            return min(1, self._pages)
        pages, tokens = (self._read[after] - self._read[after - 1], self._ends[after] - self._ends[after - 1])
        part = pages * (self._condensed - self._ends[after - 1]) / max(tokens, 1)
        return min(self._read[after - 1] + max(-int(-part // 1), 1), self._pages)


class AmountBar:
    """So much of so much, in bytes (and bytes a second) or in things that are counted; time left."""

    def __init__(self, console: RichConsole, event: Transfer | Counting) -> None:
        self.text = event.text
        self._bar, self._speed = Bar(console, event.text), Speed(event.done)

    def update(self, event: Transfer | Counting) -> None:
        speed = self._speed.at(event.done)
        if isinstance(event, Transfer):
            figures = [f"{format_size(event.done)} of {format_size(event.total)}", f"{format_size(round(speed))}/s"]
        else:
            figures = [f"{event.done:,}/{event.total:,}"]
        self._bar.show(event.done, event.total, figures, (event.total - event.done) / speed if speed > 0 else None)

    def stop(self) -> None:
        self._bar.stop()


class TrainingBar:
    """Steps, loss, tokens/s, time left. Validations get a line that stays; off a terminal, so do checkpoints."""

    EVERY = 30.0

    def __init__(self, console: RichConsole, event: TrainingBegun) -> None:
        self._console, self._bar = console, Bar(console, "training", self.EVERY)
        self._bar.show(event.step, event.steps, [f"step {event.step:,}/{event.steps:,}"], None)

    def update(self, event: TrainStep | Validated | Saved) -> None:
        if isinstance(event, TrainStep):
            figures = [f"step {event.step:,}/{event.steps:,}", f"loss {event.loss:.4f}"]
            figures.append(f"{event.tokens_per_second:,.0f} tokens/s")
            self._bar.show(event.step, event.steps, figures, event.seconds_left)
        elif isinstance(event, Validated):
            losses = "  ".join(f"{_ratio_name(name)} {loss:.4f}" for name, loss in event.losses.items())
            self._console.print(Text(f"validation at step {event.step:,}: {losses}", style="dim"))
        elif not can_move_cursor(self._console):
            self._bar.say("saved")

    def stop(self) -> None:
        self._bar.stop()


def _ratio_name(name: str) -> str:
    return "uncondensed" if name == "full" else f"ratio {name}"

"""How far long work is: on a terminal a line that changes, elsewhere a line now and then."""

import time
from collections.abc import Sequence
from datetime import timedelta

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from beacon_cli.console.text import one_line, shortened
from beacon_cli.events import Counting, IntervalDone, PageRead, Reading, Transfer
from beacon_cli.pace import ReadingPace, Speed
from beacon_cli.quantities import format_size
from beacon_cli.training.events import Saved, TrainingBegun, TrainStep, Validated

# Seconds between two lines off a terminal.
EVERY = 10.0
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


class ReadingBar(Bar):
    """Tokens condensed of all, the page that they are on, tokens/s, time left. `Reading` begins it."""

    def __init__(self, console: RichConsole, event: Reading) -> None:
        super().__init__(console, event.name)
        self._pace = ReadingPace(event)
        self._show()

    def update(self, event: PageRead | IntervalDone) -> None:
        self._pace.update(event)
        self._show()

    def _show(self) -> None:
        pace = self._pace
        figures = [f"{pace.done:,}/{'' if pace.exact else '~'}{pace.total:,.0f}"]
        figures += [f"{pace.speed:,.0f} tokens/s"] if pace.speed else ["tokens"]
        figures.append(f"page {pace.page:,}/{pace.pages:,}")
        self.show(pace.done, pace.total, figures, pace.seconds_left)


class AmountBar(Bar):
    """So much of so much, in bytes (and bytes a second) or in things that are counted; time left."""

    def __init__(self, console: RichConsole, event: Transfer | Counting) -> None:
        super().__init__(console, event.text)
        self.text, self._speed = event.text, Speed(event.done)

    def update(self, event: Transfer | Counting) -> None:
        speed = self._speed.at(event.done)
        if isinstance(event, Transfer):
            figures = [f"{format_size(event.done)} of {format_size(event.total)}", f"{format_size(round(speed))}/s"]
        else:
            figures = [f"{event.done:,}/{event.total:,}"]
        self.show(event.done, event.total, figures, (event.total - event.done) / speed if speed > 0 else None)


class TrainingBar(Bar):
    """Steps, loss, tokens/s, time left. Validations get a line that stays; off a terminal, so do checkpoints."""

    EVERY = 30.0

    def __init__(self, console: RichConsole, event: TrainingBegun) -> None:
        super().__init__(console, "training", self.EVERY)
        self.show(event.step, event.steps, [f"step {event.step:,}/{event.steps:,}"], None)

    def update(self, event: TrainStep | Validated | Saved) -> None:
        if isinstance(event, TrainStep):
            figures = [f"step {event.step:,}/{event.steps:,}", f"loss {event.loss:.4f}"]
            figures.append(f"{event.tokens_per_second:,.0f} tokens/s")
            self.show(event.step, event.steps, figures, event.seconds_left)
        elif isinstance(event, Validated):
            losses = "  ".join(f"{_ratio_name(name)} {loss:.4f}" for name, loss in event.losses.items())
            self._console.print(Text(f"validation at step {event.step:,}: {losses}", style="dim"))
        elif not can_move_cursor(self._console):
            self.say("saved")


def _ratio_name(name: str) -> str:
    return "uncondensed" if name == "full" else f"ratio {name}"

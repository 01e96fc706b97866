"""The only user of rich: progress and notes to stderr, answers to stdout."""

import json
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from beacon_cli.events import (
    Condensed,
    Counting,
    Event,
    IntervalDone,
    Note,
    PageRead,
    Reading,
    Returned,
    Stage,
    Transfer,
    returned,
)
from beacon_cli.training.events import Saved, Trained, TrainingBegun, TrainingEvent, TrainStep, Validated

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer


class Console:
    """Draws events.

    Args:
        quiet: say nothing on stderr but errors.
        as_json: answers are printed by `print_json` at the end, not as they come.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._err = RichConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._out = RichConsole(highlight=False, soft_wrap=True)
        self._progress: _ReadingProgress | _AmountProgress | _TrainingProgress | None = None

    def run(self, events: Iterable[Event | TrainingEvent]) -> Iterator[Condensed | Trained]:
        """Draw events as they come, passing on those that carry results."""
        try:
            for event in events:
                self.draw(event)
                if isinstance(event, Condensed | Trained):
                    yield event
        finally:
            self._end_progress()

    def drawn(self, events: Generator[Event, None, Returned]) -> Returned:
        """Draw the events of a workflow that passes no results on; what it returns."""
        try:
            return returned(events, self.draw)
        finally:
            self._end_progress()

    def note(self, text: str) -> None:
        """A remark on stderr."""
        self._err.print(Text(text, style="dim"))

    def error(self, text: str) -> None:
        """The one line that says what went wrong; shown even when quiet."""
        RichConsole(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), text))

    def print_json(self, value: Any) -> None:
        """One JSON value on stdout."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
        sys.stdout.flush()

    def print_record(self, record: Mapping[str, Any], *, as_json: bool) -> None:
        """One thing's fields, a line each, or as JSON."""
        if as_json:
            self.print_json(record)
            return
        for field, value in record.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            self.print_line(f"{field}: {text}".rstrip())

    def print_line(self, text: str) -> None:
        """One plain line on stdout."""
        sys.stdout.write(text + "\n")

    def print_table(self, columns: list[str], rows: list[list[str]]) -> None:
        """A table on stdout; tab-separated where that is no terminal."""
        if not self._out.is_terminal:
            for row in [columns, *rows]:
                self.print_line("\t".join(row))
            return
        table = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        self._out.print(table)

    def draw(self, event: Event | TrainingEvent) -> None:
        if isinstance(event, Stage):
            self._end_progress()
            if self._err.is_terminal:
                self.note(f"{event.text} …")
        elif isinstance(event, Note):
            self._end_progress()
            self._err.print(Text(f"note: {event.text}", style="yellow"))
        elif isinstance(event, Transfer | Counting):
            if not isinstance(self._progress, _AmountProgress) or self._progress.text != event.text:
                self._end_progress()
                self._progress = _AmountProgress(self._err, event)
            self._progress.update(event)
        elif isinstance(event, TrainingBegun):
            self._end_progress()
            self.note(
                f"{event.name}: training {event.parameters:,} parameters on {event.texts:,} texts of {event.tokens:,} "
                f"tokens, {event.steps:,} steps" + (f", going on behind step {event.step:,}" if event.step else "")
            )
            self._progress = _TrainingProgress(self._err, event)
        elif isinstance(event, TrainStep | Validated | Saved):
            if isinstance(self._progress, _TrainingProgress):
                self._progress.update(event)
        elif isinstance(event, Reading):
            self._end_progress()
            self._progress = _ReadingProgress(self._err, event)
        elif isinstance(event, PageRead | IntervalDone):
            if isinstance(self._progress, _ReadingProgress):
                self._progress.update(event)
        elif isinstance(event, Condensed):
            self._end_progress()
            self.note(_condensed_line(event))

    def print_answer(self, answer: "Answer", *, several: bool) -> None:
        """The answer as it comes, and where it stands; `several`: whether documents must be named."""
        self._end_progress()
        for piece in answer:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        sys.stdout.flush()
        for citation in answer.citations:
            document = f"{citation.document}, " if several else ""
            section = f" ({citation.section})" if citation.section else ""
            self.note(f"{document}p. {citation.label or citation.page}{section}: “{citation.quote}”")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end_progress()

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _condensed_line(event: Condensed) -> str:
    if not event.condensed_now and event.cache_path:
        how = "from the cache"
    else:
        seconds = event.seconds.get("condense", 0.0)
        how = f"{event.condensed_now:,} of them now, {event.condensed_now / max(seconds, 1e-9):,.0f} tokens/s"
    return f"{event.name}: {event.tokens:,} tokens condensed to {event.rows:,} (ratio {event.ratio}; {how})"


class _ReadingProgress:
    """Pages read, tokens condensed, tokens/s, time left."""

    def __init__(self, console: RichConsole, event: Reading) -> None:
        self._pages, self._tokens, self._condensed = event.pages_read, event.tokens_read, event.condensed
        self._total_pages = event.pages
        self._first, self._began = event.condensed, time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task(Text(event.name).plain, total=None, figures="")
        self._progress.start()

    def update(self, event: PageRead | IntervalDone) -> None:
        if isinstance(event, PageRead):
            self._pages, self._tokens = event.pages, event.tokens
        else:
            self._condensed = event.tokens
        # The tokens of pages that are still to come are guessed from those that are there.
        expected = self._tokens * self._total_pages / max(self._pages, 1)
        speed = (self._condensed - self._first) / max(time.monotonic() - self._began, 1e-3)
        self._progress.update(
            self._task,
            completed=self._condensed,
            total=max(expected, self._condensed, 1),
            figures=f"page {self._pages}/{self._total_pages}  {self._condensed:,} tokens  {speed:,.0f} tokens/s",
        )

    def stop(self) -> None:
        self._progress.stop()


class _TrainingProgress:
    """Steps, loss, tokens/s, time left. Validations get a line that stays; off a terminal, so do checkpoints and, every
    `SECONDS`, a step.
    """

    SECONDS = 30

    def __init__(self, console: RichConsole, event: TrainingBegun) -> None:
        self._console, self._step, self._shown = console, "", float("-inf")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("training", total=event.steps, completed=event.step, figures="")
        self._progress.start()

    def update(self, event: TrainStep | Validated | Saved) -> None:
        if isinstance(event, TrainStep):
            left = timedelta(seconds=round(event.seconds_left))
            self._step = (
                f"step {event.step:,}/{event.steps:,}  loss {event.loss:.4f}  {event.tokens_per_second:,.0f} tokens/s  "
                f"{left} left"
            )
            self._progress.update(self._task, completed=event.step, figures=self._step)
            if not self._console.is_terminal and time.monotonic() - self._shown >= self.SECONDS:
                self._console.print(Text(self._step))
                self._shown = time.monotonic()
        elif isinstance(event, Validated):
            losses = "  ".join(f"{_ratio_name(name)} {loss:.4f}" for name, loss in event.losses.items())
            self._console.print(Text(f"validation at step {event.step:,}: {losses}", style="dim"))
        elif not self._console.is_terminal:
            self._console.print(Text(f"{self._step}  saved"))

    def stop(self) -> None:
        self._progress.stop()


def _ratio_name(name: str) -> str:
    return "uncondensed" if name == "full" else f"ratio {name}"


class _AmountProgress:
    """So much of so much, in bytes (and bytes a second) or in samples; time left."""

    def __init__(self, console: RichConsole, event: Transfer | Counting) -> None:
        self.text = event.text
        in_bytes = (DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            *(in_bytes if isinstance(event, Transfer) else (MofNCompleteColumn(),)),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task(Text(event.text).plain, total=event.total, completed=event.done)
        self._progress.start()

    def update(self, event: Transfer | Counting) -> None:
        self._progress.update(self._task, completed=event.done, total=event.total)

    def stop(self) -> None:
        self._progress.stop()

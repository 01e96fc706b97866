"""What a person sees: progress, notes and errors on stderr; answers, tables and JSON on stdout."""

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console as RichConsole
from rich.text import Text

from beacon_cli.console.places import Named, marked_text, page_text
from beacon_cli.console.progress import AmountBar, ReadingBar, TrainingBar, can_move_cursor
from beacon_cli.console.tables import Column, fitted
from beacon_cli.console.text import one_line, plain, to_json
from beacon_cli.errors import OutputError
from beacon_cli.events import (
    Condensed,
    Counting,
    Event,
    IntervalDone,
    Note,
    PageRead,
    Reading,
    Stage,
    Transfer,
)
from beacon_cli.quantities import counted
from beacon_cli.training.events import Saved, TrainingBegun, TrainingEvent, TrainStep, Validated

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.answering.passages import Passage
    from beacon_cli.answering.texts import Texts


# Of documents that are there already so many are told of, and of the others how many they are.
TOLD = 5


class InterruptedByUserError(Exception):
    """Ctrl-C; the message says what it left."""


class Console:
    """Draws events. As a context manager, it takes the progress line away at the end, whatever ends it.

    Args:
        quiet: say nothing on stderr but errors.
        as_json: answers are printed by `print_json` at the end, not as they come.
        kept: what is said to be left when Ctrl-C comes; empty if nothing is.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False, kept: str = "") -> None:
        self.quiet, self.as_json, self.kept = quiet, as_json, kept
        self._err = _stderr(quiet=quiet)
        self._out = _wrapped(RichConsole(highlight=False))
        self._progress: ReadingBar | AmountBar | TrainingBar | None = None
        self._records = 0
        self._taken: list[Condensed] = []  # one after another, with nothing to be condensed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end_progress()
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedByUserError(f"interrupted{f'; {self.kept}' if self.kept else ''}") from None

    def draw(self, event: Event | TrainingEvent) -> None:
        """Show what long work reports: a `Progress`."""
        match event:
            case PageRead() | IntervalDone():
                if isinstance(self._progress, ReadingBar):
                    self._progress.update(event)
            case TrainStep() | Validated() | Saved():
                if isinstance(self._progress, TrainingBar):
                    self._progress.update(event)
            case Transfer() | Counting():
                if not isinstance(self._progress, AmountBar) or self._progress.text != event.text:
                    self._end_progress()
                    self._progress = AmountBar(self._err, event)
                self._progress.update(event)
            case Condensed(condensed_now=0):
                self._take(event)
            case _:
                self._end_progress()
                self._begin(event)

    def _begin(self, event: Event | TrainingEvent) -> None:
        match event:
            case Stage():
                if can_move_cursor(self._err):
                    self.note(f"{event.text} …")
            case Note():
                self._err.print(Text(f"note: {one_line(event.text)}", style="yellow"))
            case Reading():
                self._progress = ReadingBar(self._err, event)
            case Condensed():
                self.note(_condensed_line(event))
            case TrainingBegun():
                self.note(_training_line(event))
                self._progress = TrainingBar(self._err, event)

    def _take(self, event: Condensed) -> None:
        """Tell of a document that was there already; of many in a row, of the first, and in the end how many others."""
        taken = self._taken
        if len(taken) < TOLD:
            self._end_progress()
            self.note(_condensed_line(event))
        self._taken = [*taken, event]

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        taken, self._taken = self._taken, []
        if more := taken[TOLD:]:
            tokens, rows = sum(each.tokens for each in more), sum(each.rows for each in more)
            self.note(f"and {counted(len(more), 'other')}: {tokens:,} tokens condensed to {rows:,}")

    def note(self, text: str) -> None:
        """A remark on stderr."""
        self._err.print(Text(one_line(text), style="dim"))

    def error(self, text: str) -> None:
        """The one line that says what went wrong; shown even when quiet."""
        _stderr().print(Text.assemble(("error: ", "bold red"), one_line(text)))

    def print_answer(self, answer: "Answer", documents: Sequence[Named]) -> None:
        """The answer as it comes, and where it stands, or what the documents have instead."""
        begun = False
        try:
            for piece in answer:
                self._end_progress()
                self._write(plain(piece))
                begun = True
        except BaseException:
            if begun:  # the error begins on a line of its own
                self._write("\n")
            raise
        self._end_progress()
        self._write("\n")
        if answer.supported is False:
            self.note("unsupported: no passage says so" + ("; the closest are:" if answer.closest else ""))
        elif answer.supported == "partly":
            self.note("supported partly: the documents say this of it, or say it of something else:")
        elif answer.closest:
            self.note("closest to the question:")
        for place in answer.citations or answer.closest:
            line = page_text(place, documents).append(f": “{one_line(place.quote)}”")
            line.stylize_before("dim")
            self._err.print(line)

    def print_places(self, answer: "Answer", documents: Sequence[Named]) -> None:
        """Where an answer stands, or what comes closest, a line each."""
        for place in answer.citations or answer.closest:
            self.print_sentence(f"{page_text(place, documents).plain}: “{place.quote}”")

    def print_passages(self, passages: Sequence["Passage"], texts: "Texts", words: str) -> None:
        """Passages of some texts in the order of their rank, each under its page, with these words marked."""
        for number, passage in enumerate(passages, 1):
            with self._out.capture() as captured:
                self._out.print(Text(f"{number}. ").append(page_text(passage, texts.documents)))
                self._out.print(marked_text(passage.text, texts.marked(passage.text, words)))
            self._write(captured.get() + ("\n" if number < len(passages) else ""))

    def print_json(self, value: Any) -> None:
        """One JSON value."""
        self._write(to_json(value) + "\n")

    def print_record(self, record: Mapping[str, Any]) -> None:
        """One thing's fields, a line each; an empty line stands between two things."""
        if self._records:
            self.print_line("")
        self._records += 1
        for field, value in record.items():
            values = value if isinstance(value, list | tuple) else [] if value is None else [value]
            self.print_line(f"{field}: {one_line(', '.join(map(str, values)))}".rstrip())

    def print_line(self, text: str) -> None:
        """Plain text, and the end of a line."""
        self._write(plain(text) + "\n")

    @property
    def columns(self) -> int | None:
        """Of the terminal that answers and tables go to; None if they go elsewhere."""
        return self._out.width if self._out.is_terminal else None

    def print_sentence(self, text: str) -> None:
        """A line for people; on a terminal it is wrapped between words."""
        text = one_line(text)
        if self.columns is not None:
            text = textwrap.fill(text, self.columns, break_on_hyphens=False, break_long_words=False)
        self._write(text + "\n")

    def print_table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """A table that fits the terminal, see `Column`; where there is none, all of it, with tabs."""
        if not sys.stdout.isatty():
            heads = [column.title for column in columns]
            self._write("".join("\t".join(map(one_line, row)) + "\n" for row in [heads, *rows]))
            return
        head, *lines = fitted(columns, rows, self._out.width)
        with self._out.capture() as captured:
            self._out.print(Text(head, style="bold"))
        self._write(captured.get() + "".join(f"{line}\n" for line in lines))

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            close_output()
            if isinstance(error, BrokenPipeError):  # nobody reads on
                raise
            raise OutputError(cannot_write(error)) from None


def _stderr(*, quiet: bool = False) -> RichConsole:
    return _wrapped(RichConsole(stderr=True, quiet=quiet, highlight=False))


def _wrapped(console: RichConsole) -> RichConsole:
    """Where people read: a terminal's lines are wrapped between words; elsewhere a line is as long as it is."""
    console.soft_wrap = not can_move_cursor(console)
    return console


def _condensed_line(event: Condensed) -> str:
    name, tokens = event.name, f"{event.tokens:,} tokens"
    if event.rows >= event.tokens and not event.condensed_now:
        return f"{name}: {tokens}, too few to be condensed: they are read as they are"
    if not event.condensed_now and event.cache_path:
        how = "from the cache"
    else:
        speed = event.condensed_now / max(event.seconds.get("condense", 0.0), 1e-9)
        how = f"{event.condensed_now:,} of them now, {speed:,.0f} tokens/s"
    return f"{name}: {tokens} condensed to {event.rows:,} (ratio {event.ratio}; {how})"


def _training_line(event: TrainingBegun) -> str:
    how = f"{event.steps:,} steps" + (f", going on after step {event.step:,}" if event.step else "")
    learned = f"{event.parameters:,} parameters on {event.texts:,} texts of {event.tokens:,} tokens"
    return f"{event.name}: training {learned}, {how}"


def close_output() -> None:
    """Write nothing more: what is still in stdout's buffer would fail again when the interpreter ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def cannot_write(error: OSError) -> str:
    """What is said of standard output that takes no more."""
    return f"the output cannot be written ({error.strerror}); send it to another place"

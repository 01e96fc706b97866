"""What the console says of events, and what of a document it never says."""

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from beacon_cli import library
from beacon_cli.console.console import Console, InterruptedByUserError
from beacon_cli.console.progress import bar_line
from beacon_cli.console.tables import Column, fitted
from beacon_cli.console.text import one_line, plain, shortened, to_json
from beacon_cli.events import Condensed, Event, IntervalDone, Note, PageRead, Reading
from beacon_cli.training.events import TrainingBegun
from tests.cli.runner import run

HOSTILE = "a\x1b[2J\x1b]0;title\x07b\x9b31mc\x00\x08\r\x7f\u202ed\ud800"


def said(capsys: pytest.CaptureFixture[str], say: Callable[[Console], object]) -> str:
    say(Console())
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("event", "words"),
    [
        # Too short for one interval: nothing is condensed, nothing came from a cache.
        (
            Condensed("a", 90, 92, 8, 0, 1, "/cache", ()),
            "a: 90 tokens, too few to be condensed: they are read as they are",
        ),
        (Condensed("a", 90, 90, 8, 0, 1, None, ()), "a: 90 tokens, too few to be condensed: they are read as they are"),
        (Condensed("a", 900, 120, 8, 0, 1, "/cache", ()), "a: 900 tokens condensed to 120 (ratio 8; from the cache)"),
        (
            Condensed("a", 900, 120, 8, 800, 1, None, (), {"condense": 2.0}),
            "a: 900 tokens condensed to 120 (ratio 8; 800 of them now, 400 tokens/s)",
        ),
        (TrainingBegun("m", 5, 3, 900, 0, 4), "m: training 5 parameters on 3 texts of 900 tokens, 4 steps"),
        (
            TrainingBegun("m", 5, 3, 900, 2, 4),
            "m: training 5 parameters on 3 texts of 900 tokens, 4 steps, going on after step 2",
        ),
    ],
)
def test_what_happened_is_said_plainly(capsys: pytest.CaptureFixture[str], event: Event, words: str) -> None:
    assert said(capsys, lambda console: console.draw(event)) == f"{words}\n"


def test_of_many_documents_that_are_there_the_first_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    there = [Condensed(f"{number}.txt", 900, 120, 8, 0, 1, "/cache", ()) for number in range(8)]
    now = replace(there[0], condensed_now=800, seconds={"condense": 2.0})

    def say(console: Console) -> None:
        with console:
            for event in (*there, now, *there[:5]):
                console.draw(event)

    lines = said(capsys, say).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "0.txt", "1.txt", "2.txt", "3.txt", "4.txt", "and 3 others", "0.txt",
        "0.txt", "1.txt", "2.txt", "3.txt", "4.txt",
    ]  # fmt: skip
    assert lines[5] == "and 3 others: 2,700 tokens condensed to 360"


def test_no_control_characters_of_a_document_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.note(HOSTILE)
    console.draw(Note(HOSTILE))
    console.error(HOSTILE)
    console.print_line(HOSTILE)
    console.print_table([Column(HOSTILE), Column("b")], [[HOSTILE, "c"]])
    console.print_record({"a": HOSTILE, "b": [HOSTILE]})
    console.print_json({"a": HOSTILE})
    captured = capsys.readouterr()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]", captured.out + captured.err)


def test_plain_text_keeps_what_is_text() -> None:
    assert plain("Größe\t1\n“x” 😀 \u200d") == "Größe\t1\n“x” 😀 \u200d"
    assert plain(HOSTILE) == "abcd?"
    assert plain("\x1b]0;no end " + "x" * 600).endswith("x" * 600)
    assert one_line("a\r\n b") == "a b"
    assert json.loads(to_json({"a": HOSTILE})) == {"a": HOSTILE}


def test_shortened() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("日本語日本語", 5) == "日本…"
    assert shortened("abc", 0) == ""


COLUMNS = [
    Column("key", keep=True),
    Column("document"),
    Column("model", drop=2),
    Column("tokens", drop=1),
    Column("used", drop=4),
]
ROWS = [["0123456789ab", "a long name of a document.pdf", "model-of-mine", "1,234", "2026-01-01 12:00"]]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (99, "0123456789ab  a long name of a document.pdf  model-of-mine   1,234  2026-01-01 12:00"),
        (70, "0123456789ab  a long name of…  model-of-mine   1,234  2026-01-01 12:00"),
        (50, "0123456789ab  a long name…   model-of-mine   1,234"),
        (40, "0123456789ab  a long…   model-o…   1,234"),
        (10, "0123456789ab  a long…"),
    ],
)
def test_tables_lose_what_matters_least(width: int, line: str) -> None:
    head, row = fitted(COLUMNS, ROWS, width)
    assert head.split()[:2] == ["key", "document"]
    assert row == line
    assert len(row) <= max(width, 22)


@pytest.mark.parametrize("width", [79, 39, 20])
def test_the_line_of_progress_fits(width: int) -> None:
    figures = ["15,000/60,000", "1,234 tokens/s", "page 50/196"]
    line = bar_line("the-book-of-everything.pdf", 0.25, figures, "0:12:34 left", width).plain
    assert len(line) <= width
    assert " 25%" in line
    assert line.endswith("0:12:34 left")
    assert ("page 50/196" in line) == (width > 50) == ("1,234 tokens/s" in line)


def test_the_page_that_condensing_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console()
    shown: list[tuple[str, ...]] = []
    console.draw(Reading("a", 10, 4, 400, 200))
    bar = console._progress
    assert bar is not None
    monkeypatch.setattr(bar, "show", lambda done, total, figures, left: shown.append((figures[-1], figures[0])))  # type: ignore[union-attr]  # it is a ReadingBar
    for page in range(5, 11):
        console.draw(PageRead(page, 100 * page))
    for tokens in (400, 401, 1000):
        console.draw(IntervalDone(tokens, 1))
    assert shown[0] == ("page 2/10", "200/~1,000")
    assert shown[-4:] == [
        ("page 2/10", "200/1,000"),
        ("page 4/10", "400/1,000"),
        ("page 5/10", "401/1,000"),
        ("page 10/10", "1,000/1,000"),
    ]


def test_ctrl_c_says_what_is_kept() -> None:
    with pytest.raises(InterruptedByUserError, match=r"^interrupted$"), Console():
        raise KeyboardInterrupt
    with (
        pytest.raises(InterruptedByUserError, match=r"^interrupted; all of it is kept$"),
        Console(kept="all of it is kept"),
    ):
        raise KeyboardInterrupt


def test_records_do_not_run_together(monkeypatch: pytest.MonkeyPatch) -> None:
    out, console = io.StringIO(), Console()
    monkeypatch.setattr(sys, "stdout", out)
    for name in ("x", "y"):
        console.print_record({"a": name, "long": None})
    assert out.getvalue() == "a: x\nlong:\n\na: y\nlong:\n"


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ((), "; what is condensed is kept, and the same command goes on from there"),
        (("--no-cache",), ""),
        (("--refresh",), ""),
    ],
)
def test_ask_says_that_something_is_kept_only_where_it_is(
    book: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], kept: str
) -> None:
    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "load", interrupted)
    result = run("ask", str(book), "Who?", *flags)
    assert (result.code, result.out, result.err) == (130, "", f"error: interrupted{kept}\n")

"""What is seen on real terminals of 80 and 40 columns, and where there is none."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cache.synthetic_cache import DOCUMENT, KEY, build
from tests.console.terminal import beacon, run_in_terminal, script

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d)(?:;\d+)*m")
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A book of 200 pages and 60,000 tokens, of which a fourth gets condensed, and something that comes after it.
READING = """
import time
from beacon_cli.console.console import Console
from beacon_cli.events import IntervalDone, Note, PageRead, Reading
with Console(quiet={quiet}) as console:
    console.draw(Reading("the-book-of-everything.pdf", 200, 0, 0))
    for page in range(1, 201):
        console.draw(PageRead(page, 300 * page))
    time.sleep(0.1)
    console.draw(IntervalDone(15_000, 1_000))
    time.sleep(0.6)
    {end}
"""


def lines_of(written: str) -> list[str]:
    """The states of the progress line, without colours."""
    return [line for line in (SEQUENCE.sub("", part).strip() for part in re.split(r"[\r\n]", written)) if line]


@pytest.mark.parametrize("columns", [80, 40])
def test_progress_has_percentage_and_time_left_at_every_width(columns: int) -> None:
    code, written = run_in_terminal(script(READING.format(quiet=False, end="")), columns)
    assert code == 0
    last = lines_of(written)[-1]
    assert len(last) < columns
    assert " 25%" in last
    assert re.search(r"0:00:0\d left$", last)
    assert last.startswith("the-book")
    if columns == 80:
        assert "page 50/200" in last
        assert "15,000/60,000" in last
        assert "tokens/s" in last
    assert written.rstrip("\r\n ").endswith("\x1b[2K"), "the line is taken away in the end"


def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    end = 'console.draw(Note("a note"))'
    assert COLOUR.search(run_in_terminal(script(READING.format(quiet=False, end=end)), 80)[1])
    assert not COLOUR.search(run_in_terminal(script(READING.format(quiet=False, end=end)), 80, NO_COLOR="1")[1])


def test_quiet_says_nothing() -> None:
    assert run_in_terminal(script(READING.format(quiet=True, end='console.note("a note")')), 80) == (0, "")


def test_after_ctrl_c_no_line_stays_above_the_error() -> None:
    text = "from beacon_cli import app\nfrom beacon_cli.commands import inspect\nimport typer\n"
    text += "def work() -> None:\n" + "".join(f"    {line}\n" for line in READING.strip().splitlines())
    text = text.format(quiet=False, end="raise KeyboardInterrupt")
    text += "app.app.command('work')(work)\nimport sys\nsys.argv = ['beacon', 'work']\napp.main()"
    code, written = run_in_terminal(script(text), 80)
    assert code == 130
    before, _, after = written.partition("error: ")
    assert before.rstrip("\x1b[0123456789m;").endswith("\x1b[2K") or "\x1b[2K" in before[before.rfind("left") :]
    assert SEQUENCE.sub("", after).strip() == "interrupted"


@pytest.mark.parametrize("columns", [80, 40])
def test_the_line_leaves_room_for_what_ctrl_c_writes(columns: int) -> None:
    _, written = run_in_terminal(script(READING.format(quiet=False, end="")), columns)
    assert max(map(len, lines_of(written))) + len("^C") <= columns


def test_messages_wrap_between_words_on_a_terminal_only() -> None:
    text = "from beacon_cli.console.console import Console\nConsole().error('what is kept ' * 8)"
    wrapped = SEQUENCE.sub("", run_in_terminal(script(text), 40)[1]).split("\r\n")
    assert max(map(len, wrapped)) <= 40
    assert {word for line in wrapped for word in line.split()} == {"error:", "what", "is", "kept"}
    done = subprocess.run(script(text), capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == 1


def test_off_a_terminal_a_line_now_and_then_without_moving_the_cursor() -> None:
    text = "from beacon_cli.console import progress\nprogress.EVERY = 0.3\n" + READING.format(
        quiet=False, end="console.draw(IntervalDone(30_000, 2_000))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"FORCE_COLOR": "1"}
    done = subprocess.run(script(text), capture_output=True, text=True, check=True, env=environment)
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"the-book-of-everything.pdf: 50%, 30,000/60,000, [\d,]+ tokens/s, page 100/200, 0:00:0\d left", line
    )
    assert done.stdout == ""


@pytest.mark.parametrize("columns", [80, 40])
def test_a_table_keeps_the_keys(columns: int, cache_dir: Path) -> None:
    build(cache_dir)
    code, written = run_in_terminal(beacon("cache", "list"), columns)
    assert code == 0
    head, row = (SEQUENCE.sub("", line) for line in written.splitlines())
    assert head.split()[0] == "key"
    assert row.split()[0] == KEY[:12]
    assert max(len(head), len(row)) <= columns
    assert DOCUMENT.name[:3] in row


@pytest.mark.parametrize("columns", [80, 40])
def test_settings_and_models_keep_what_identifies_them(columns: int) -> None:
    settings = SEQUENCE.sub("", run_in_terminal(beacon("config", "list"), columns)[1])
    assert "max_new_tokens" in settings
    assert "smollm2-135m" in settings
    assert max(map(len, settings.splitlines())) <= columns
    models = SEQUENCE.sub("", run_in_terminal(beacon("models", "list"), columns)[1])
    assert "namespace-Pt/activation-beacon-llama2-7b-chat" in models
    assert "not here" in models


@pytest.mark.parametrize("columns", [80, 40])
def test_what_can_be_read_is_aligned_with_remarks_below(columns: int, tmp_path: Path) -> None:
    (tmp_path / "a-rather-long-name-of-a-text.txt").write_text("It rained. " * 2000)
    (tmp_path / "b.txt").write_text("")
    (tmp_path / "c.pdf").write_text("%PDF-1.4 that ends here")
    code, written = run_in_terminal(beacon("inspect", tmp_path / "*"), columns)
    assert code == 0
    lines = lines_of(written)
    rows = [line for line in lines if re.match("(state|read|refused) ", line)]
    assert [line.split()[0] for line in rows] == ["state", "read", "refused", "refused"]
    assert len({line.index(word) for line, word in zip(rows, ("document", *[str(tmp_path)] * 3), strict=True)}) == 1
    below = " ".join(lines)
    assert "b.txt: is empty: there is nothing to read" in below
    assert "or repair it (for instance: qpdf damaged.pdf repaired.pdf)" in below
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= columns


def test_ctrl_c_says_that_something_is_kept_only_where_it_is(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.txt").write_text("It rained. " * 200)
    command = beacon("inspect", tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()  # how far it is
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "error: interrupted"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [("config", "list", "--json"), ("config", "list"), ("config", "path"), ("--help",)]
)
def test_an_output_that_takes_no_more(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(beacon(*arguments), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the output cannot be written (No space left on device)")


def test_an_output_that_nobody_reads_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(beacon("config", "list", "--json"), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == ""


def test_unknown_variables_are_said_unless_quiet() -> None:
    environment = os.environ | {"BEACON_CACHEDIR": "/nowhere"}
    done = subprocess.run(beacon("config", "path"), capture_output=True, text=True, env=environment, check=True)
    assert "BEACON_CACHEDIR means nothing to beacon; did you mean BEACON_CACHE_DIR?" in done.stderr
    done = subprocess.run(beacon("cache", "rm", "--all", "-q"), capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), sys.path

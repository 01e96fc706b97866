"""`beacon logs`, `beacon ask --report` and `beacon doctor`: what was asked, and what there is to work with."""

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from beacon_cli.answering.prompts import REFUSAL
from tests.cli.runner import Result, assert_misused, assert_refused, run
from tests.scripted import Script
from tests.stories import FACT, WHO_KEEPS

HOSTILE = "</title><script>alert(1)</script>\x1b[31m\x9b2J<img src=x onerror=alert(1)>"


def ask(book: Path, *flags: str, question: str = WHO_KEEPS) -> Result:
    result = run("ask", str(book), question, *flags)
    assert result.code == 0, result.err
    return result


def database() -> Path:
    return Path(os.environ["BEACON_STATE_DIR"]) / "questions.db"


def test_past_questions_are_shown_the_latest_first(book: Path, says: Script) -> None:
    says("Edda Voss", "Karl Brann")
    ask(book)
    ask(book, question="Who is the smith?")
    last, first = run("logs", "--json").json
    assert (first["question"], first["answer"], first["supported"]) == (WHO_KEEPS, "Edda Voss", True)
    assert (first["documents"], first["citations"][0]["quote"]) == (["book.txt"], FACT)
    assert (last["answer"], last["supported"]) == ("Karl Brann", False)
    shown = run("logs", "edda", "LIGHTHOUSE").out
    assert f"question: {WHO_KEEPS}\nanswer: Edda Voss\nsupport: supported\nplaces: book.txt, p. 1\n" in shown
    assert "Karl" not in shown
    assert "Karl" in run("logs", "-n", "1").out
    assert database().stat().st_mode & 0o777 == 0o600


def test_none_is_kept_if_none_is_wanted(book: Path, says: Script) -> None:
    ask(book, "--no-log")
    assert not database().exists()
    assert run("config", "set", "log", "false").code == 0
    ask(book)
    assert not database().exists()
    assert "no question is logged" in run("logs").err


def test_what_is_cleared_is_gone_from_the_disk(book: Path, says: Script) -> None:
    ask(book, question="Where is Xanthippe buried?")
    assert b"Xanthippe" in database().read_bytes()
    assert "forgot 1 question" in run("logs", "--clear").err
    assert b"Xanthippe" not in database().read_bytes()
    assert run("logs", "--json").json == []


def test_a_log_that_cannot_be_written_does_not_keep_an_answer_back(book: Path, says: Script) -> None:
    database().parent.mkdir(parents=True)
    database().write_bytes(b"no database " * 100)
    says("Edda Voss")
    result = ask(book)
    assert result.out == "Edda Voss\n"
    assert "the log of questions" in result.err
    assert_refused(run("logs"), "the log of questions")


def test_nothing_in_a_log_reaches_the_terminal(book: Path, says: Script) -> None:
    says(HOSTILE)
    ask(book, question=f"{HOSTILE}?")
    for result in (run("logs"), run("logs", "--json")):
        assert not {"\x1b", "\x9b"} & set(result.out)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.marked: list[str] = []
        self._in_mark = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        self.tags.append(tag)
        self._in_mark = tag == "mark"

    def handle_endtag(self, tag: str) -> None:
        self._in_mark = False

    def handle_data(self, data: str) -> None:
        if self._in_mark:
            self.marked.append(data)


def test_a_report_is_one_file_with_everything_in_it(book: Path, tmp_path: Path, says: Script) -> None:
    says("Edda Voss")
    path = tmp_path / "out.html"
    assert ask(book, "--report", str(path)).out == "Edda Voss\n"
    text = path.read_text()
    page = _Page(text)
    assert f"<h1>{WHO_KEEPS}</h1>" in text
    assert "The text says so." in text
    assert FACT in text
    assert {"keeper", "Morvane", "lighthouse"} <= set(page.marked)


def test_a_report_of_no_answer_says_what_the_places_are(book: Path, tmp_path: Path, says: Script) -> None:
    says(REFUSAL)
    path = tmp_path / "out.html"
    ask(book, "--report", str(path))
    assert "This is no answer; these places come closest:" in path.read_text()


def test_a_report_holds_no_markup_of_a_documents(tmp_path: Path, says: Script) -> None:
    says(f"Edda {HOSTILE}")
    document, path = tmp_path / "a.txt", tmp_path / "out.html"
    document.write_text(f"The keeper {HOSTILE} is Edda.")
    ask(document, "--report", str(path), question=f"Who is the keeper {HOSTILE}?")
    text = path.read_text()
    assert not {"\x1b", "\x9b"} & set(text)
    assert set(_Page(text).tags) <= {
        "html", "meta", "title", "style", "h1", "h2", "p", "blockquote", "mark",
    }  # fmt: skip


def test_a_report_is_an_html_file_that_can_be_written(book: Path, tmp_path: Path) -> None:
    assert_misused(run("ask", str(book), "Who?", "--report", str(book)), "ends in .html")
    assert book.read_text()
    result = run("ask", str(book), "Who?", "--report", str(tmp_path / "none" / "out.html"))
    assert (result.code, "cannot be written" in result.err) == (1, True)


def test_the_doctor_says_what_there_is(book: Path) -> None:
    assert run("cache", "build", str(book)).code == 0
    found = run("doctor", "--json").json
    assert found.keys() == {"versions", "device", "memory", "settings", "cache", "models", "problems"}
    assert found["versions"]["torch"]
    assert found["device"]["gflops_float32"] > 0
    assert found["cache"]["documents"] == 1
    assert found["cache"]["size"] > 0
    assert found["problems"] == []
    shown = run("doctor")
    assert (shown.code, shown.out.splitlines()[-1]) == (0, "nothing is wrong")


def test_the_doctor_names_what_is_wrong(book: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("cache", "build", str(book)).code == 0
    (manifest,) = cache_dir.glob("documents/*/manifest.json")
    manifest.write_bytes(b"{}")
    monkeypatch.setenv("BEACON_RATOI", "4")
    problems = run("doctor", "--json").json["problems"]
    assert any("BEACON_RATOI" in problem and "BEACON_RATIO" in problem for problem in problems)
    assert any("manifest" in problem for problem in problems)
    assert "wrong: " in run("doctor").out

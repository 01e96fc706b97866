"""`beacon chat`: questions and commands, one a line."""

from pathlib import Path
from unittest import mock

import pytest

from beacon_cli.answering import decoding
from beacon_cli.library import load
from tests.cli.runner import Result, assert_misused, run
from tests.console.terminal import beacon, run_in_terminal
from tests.scripted import ASSISTANT, END, USER, Script
from tests.stories import FACT, WHO_KEEPS

BORN = "And when was she born?"


def chat(book: Path, *lines: str) -> Result:
    result = run("chat", str(book), stdin="".join(f"{line}\n" for line in lines).encode())
    assert result.code == 0, result.err
    return result


def test_questions_out_of_a_pipe_are_answered_line_by_line(book: Path, says: Script) -> None:
    says("Edda Voss", "Nobody says.")
    result = chat(book, WHO_KEEPS, "", BORN)
    assert result.out == "Edda Voss\nNobody says.\n"
    assert FACT in result.err


def test_what_is_in_the_cache_is_talked_about_by_its_key(book: Path, says: Script) -> None:
    says("Edda Voss")
    key = Path(run("cache", "build", str(book), "--json").json[0]["cache_path"]).name
    book.unlink()
    assert chat(Path(key[:12]), WHO_KEEPS).out == "Edda Voss\n"


def test_a_question_is_asked_in_the_light_of_those_before(book: Path, says: Script) -> None:
    says("Edda Voss", "In 1871")
    chat(book, WHO_KEEPS, BORN)
    assert says.asked[1].prompt.startswith("Passages read again:")
    # What it is about is looked for with the words of the question before.
    assert FACT in "".join(says.asked[1].passages)
    assert says.asked[1].request == f"Question: {BORN}{END}{ASSISTANT}"


def test_what_was_said_stands_before_a_question_and_new_forgets_it(
    scripted_model: Path, book: Path, says: Script
) -> None:
    model = load(str(scripted_model))
    says("Edda Voss", "In 1871", "In 1871")
    talk = model.read(book).chat(passages=0)
    assert talk.ask(WHO_KEEPS).text == "Edda Voss"
    assert talk.ask(BORN).text == "In 1871"
    talk.new()
    assert talk.ask(BORN).text == "In 1871"
    assert not says.asked[1].equals(says.asked[2])
    assert says.asked[1].prompt == f"Question: {BORN}{END}{ASSISTANT}"
    between = model.source.tokenizer.decode
    assert model.source.between == tuple(model.source.tokenizer.encode_prompt(f"{END}{USER}"))
    assert between(model.source.between) == ""


def test_a_conversation_that_is_too_long_loses_its_beginning(scripted_model: Path, book: Path, says: Script) -> None:
    memory = load(str(scripted_model)).read(book, ratio=2)
    says("the mill by the road " * 2)
    talk = memory.chat(max_new_tokens=3000)
    for number in range(4):
        assert talk.ask(f"What is said of {'the mill ' * 700}{number}?").answered


def test_commands(book: Path, says: Script, tmp_path: Path) -> None:
    says("Edda Voss")
    saved = tmp_path / "talk.md"
    save = f"/save {saved}"
    asked = ("/pages", WHO_KEEPS, "/pages", "/passages", save, save, "/save", "/nonsense", "/help", "/quit", "never")
    result = chat(book, *asked)
    assert len(says.asked) == 1
    assert f"p. 1: “{FACT}”" in result.out
    assert result.out.count(FACT) == 2
    assert "/save FILE" in result.out
    for said in ("nothing was answered yet", "is there already", "name a file", "/nonsense is no command"):
        assert said in result.err
    assert saved.read_text() == f"# book.txt\n\n**{WHO_KEEPS}**\n\nEdda Voss\n\n- book.txt, p. 1: “{FACT}”\n"


def test_what_is_saved_holds_no_markup_of_a_document(book: Path, says: Script, tmp_path: Path) -> None:
    says("<img src=http://x> ![Edda](http://x) &lt; \\[Voss](http://x)")
    saved = tmp_path / "talk.md"
    chat(book, WHO_KEEPS, f"/save {saved}")
    assert r"\<img src=http://x> !\[Edda](http://x) \&lt; \\\[Voss](http://x)" in saved.read_text()


def test_ctrl_c_stops_an_answer_and_not_the_chat(book: Path, says: Script) -> None:
    says("Edda Voss")
    pick, picked = decoding.pick, list[int]()

    def interrupted(logits: object, temperature: float) -> int:
        picked.append(1)
        if len(picked) == 2:
            raise KeyboardInterrupt
        return pick(logits, temperature)  # type: ignore[arg-type]  # handed on

    # Undone here: the script, which patches it too, is taken away before a fixture's patches are.
    with mock.patch.object(decoding, "pick", interrupted):
        result = chat(book, WHO_KEEPS, WHO_KEEPS)
    assert "stopped" in result.err
    assert result.out.endswith("\nEdda Voss\n")


def test_what_goes_wrong_with_one_question_does_not_end_it(book: Path, says: Script) -> None:
    says("Edda Voss")
    result = chat(book, "word " * 9000, WHO_KEEPS)
    assert "do not fit" in result.err
    assert result.out.endswith("Edda Voss\n")


def test_documents_are_files(book: Path) -> None:
    assert_misused(run("chat", "-"), "standard input")
    assert run("chat", str(book) + "x").code == 1


def test_on_a_terminal_lines_are_edited(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_STATE_DIR", str(tmp_path / "state"))
    typed = f"{WHO_KEEPS}x\x7f\r\x04".encode()
    code, shown = run_in_terminal(beacon("chat", book), 80, typed=typed, PROMPT_TOOLKIT_NO_CPR="1")
    assert code == 0, shown
    assert "Nobody knows." in shown
    kept = tmp_path / "state" / "chat_history"
    assert f"+{WHO_KEEPS}\n" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600

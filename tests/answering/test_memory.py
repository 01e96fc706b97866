"""Laws of a memory: a question does not change it, and a text is read as the file that says the same."""

from pathlib import Path

import pytest

from beacon_cli.condensing.ratio import most_tokens
from beacon_cli.errors import DocumentError, TooLongError
from tests.evaluation.tiny_engine import FRAME, tiny_engine, tiny_model_of

TEXT = "\n\n".join(f"Line {number} says that {number} is odd." for number in range(12))


def test_a_question_leaves_a_memory_as_it_was() -> None:
    memory = tiny_model_of(tiny_engine(1500)).read_text(TEXT, ratio=2, cache=False)
    rows, answers = memory.rows, [memory.ask("who?", max_new_tokens=8, passages=0).text for _ in range(2)]
    assert answers[0] == answers[1]
    assert memory.rows == rows


@pytest.mark.parametrize("cache", [True, False])
def test_a_text_is_read_as_a_file_that_says_the_same(tmp_path: Path, cache: bool) -> None:
    model, path = tiny_model_of(tiny_engine(1500), tmp_path / "cache"), tmp_path / "text.txt"
    path.write_text(TEXT)
    told = model.read_text(TEXT, name="text.txt", ratio=2, cache=cache)
    filed = model.read(path, ratio=2, cache=cache)
    assert [document.from_cache for document in filed.documents] == [cache]
    assert (told.tokens, told.rows, told.documents[0].name) == (filed.tokens, filed.rows, "text.txt")
    assert told.ask("Line 3?", max_new_tokens=8, passages=1).text == filed.ask("Line 3?", max_new_tokens=8).text
    assert told.find("line 3", 1) == filed.find("line 3", 1)


def test_a_text_that_looks_like_a_pdf_is_text() -> None:
    assert tiny_model_of(tiny_engine(1500)).read_text("%PDF-1.4 it says.", ratio=0, cache=False).tokens > 8


def test_texts_that_cannot_be_read() -> None:
    model = tiny_model_of(tiny_engine(1500))
    with pytest.raises(DocumentError, match="nothing to read"):
        model.read_text(" \n", cache=False)
    with pytest.raises(TooLongError, match="text has"):
        model.read_text(TEXT * 60, cache=False)


def test_the_longest_text_that_fits_leaves_room_for_its_question() -> None:
    model = tiny_model_of(tiny_engine(400))
    question = "who? " * 30
    room = model.room_for(question, max_new_tokens=8, passages=0)
    longest = most_tokens(model.source, 0, room) - len(FRAME.opening)
    answer = model.read_text("x" * longest, ratio=0, cache=False, room=room).ask(question, max_new_tokens=8, passages=0)
    assert answer.generated == 8
    with pytest.raises(TooLongError):
        model.read_text("x" * (longest + 1), ratio=0, cache=False, room=room)

"""What is said and done on the way from documents to a memory."""

import time
from pathlib import Path
from typing import Any

import pytest

from beacon_cli import library
from beacon_cli.condensing.ratio import fits
from beacon_cli.errors import TooLongError
from beacon_cli.events import Note
from tests.cli.conftest import story
from tests.cli.runner import assert_refused, run
from tests.evaluation.tiny_engine import tiny_engine, tiny_model_of


def test_a_malformed_cache_of_another_ratio_is_no_obstacle(tmp_path: Path, cache_dir: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(story(6))
    assert run("cache", "build", str(book), "--ratio", "4").code == 0
    (manifest,) = cache_dir.glob("documents/*/manifest.json")
    manifest.write_text("{")
    result = run("ask", str(book), "Who?", "--json", "--max-new-tokens", "1")
    assert result.code == 0, result.err
    assert result.json["ratio"] == 2
    assert_refused(run("ask", str(book), "Who?", "--ratio", "4"), "manifest")


def test_a_document_too_long_even_alone_is_named_with_the_pages_that_fit(tmp_path: Path) -> None:
    long, short = tmp_path / "long.txt", tmp_path / "short.txt"
    long.write_text(story(4000))
    short.write_text(story(2))
    for order in ((long, short), (short, long)):
        assert_refused(run("ask", *map(str, order), "Who?", "--recall", "0"), "long.txt has", "--pages 1-", "tokens")


def test_a_question_too_long_for_any_document_is_not_blamed_on_the_document(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(story(2))
    refused = run("ask", str(book), "Who? " * 9000)
    assert_refused(refused, "leave no room for book.txt", "ask in fewer words", "--max-new-tokens")
    assert "--pages" not in refused.err


def test_time_spent_finding_the_model_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = tmp_path / "book.txt"
    book.write_text(story(2))
    find = library.locate_model

    def slowly(*arguments: Any, **keywords: Any) -> Any:
        time.sleep(0.5)
        return find(*arguments, **keywords)

    monkeypatch.setattr(library, "locate_model", slowly)
    seconds = run("ask", str(book), "Who?", "--json", "--max-new-tokens", "1").json["seconds"]
    assert seconds["find_model"] >= 0.5
    assert seconds.keys() == {"find_model", "open", "load_model", "condense", "first_token", "answer"}


def test_a_ratio_that_was_measured_to_keep_little_is_told_of_unless_it_was_asked_for() -> None:
    model, text = tiny_model_of(tiny_engine(200)), "Line 7 says that 7 is odd.\n\n" * 11
    notes: list[str] = []

    def read(ratio: library.Ratio) -> int:
        notes.clear()
        memory = model.read_text(text, ratio=ratio, cache=False, room=8, progress=noted)
        return memory.ratio

    def noted(event: object) -> None:
        notes.extend([event.text] if isinstance(event, Note) else [])

    assert (read("auto"), notes) == (2, [])
    for kept, told in ((0.5, False), (0.4, True)):
        vars(model.source)["kept"] = {2: kept, 4: 0.1}
        assert (read("auto"), bool(notes)) == (2, told)
    assert "only ratio 2 fits" in notes[0]
    assert "40 %" in notes[0]
    assert (read(4), notes) == (4, [])


def test_a_text_that_fits_when_its_last_interval_ends_is_not_refused_before() -> None:
    model = tiny_model_of(tiny_engine(200))
    first = "a" * (655 - len(model.source.frame.opening))  # an interval of 15 tokens has begun: too many rows by one
    assert not fits(model.source, 655, 4, 8)
    memory = model.read_text(f"{first}\f{'b' * 3}", ratio=4, cache=False, room=8)
    assert (memory.tokens, memory.ratio) == (660, 4)
    with pytest.raises(TooLongError, match="at least 655 tokens"):
        model.read_text(first, ratio=4, cache=False, room=8)

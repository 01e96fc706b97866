"""What is answered from passages alone is answered before anything is condensed."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import beacon_cli as beacon
from beacon_cli import Model
from beacon_cli.answering import search_file
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.cache.entry import MANIFEST
from beacon_cli.commands import ask
from beacon_cli.condensing import condenser
from beacon_cli.errors import DocumentError
from beacon_cli.events import Condensed, IntervalDone
from tests.cli.runner import run
from tests.scripted import Script
from tests.stories import WHO_KEEPS, story

EDDA = "Edda Voss"


def load(folder: Path, cache: Path) -> Model:
    model = beacon.load(str(folder), cache_dir=cache, device="cpu")
    model.source = replace(model.source, passages_first=True)
    return model


@pytest.fixture
def model(scripted_model: Path, tmp_path: Path) -> Model:
    return load(scripted_model, tmp_path / "cache")


@pytest.mark.parametrize("count", [1, 2])
def test_an_answer_from_passages_needs_no_memory(
    count: int, model: Model, book: Path, says: Script, monkeypatch: Any
) -> None:
    says(EDDA)
    documents = [book, book.with_name("other.txt")][:count]
    for other in documents[1:]:
        other.write_text(story(20))
    events: list[Any] = []
    memory = model.read(documents, when_needed=True, progress=events.append)
    answer = memory.ask(WHO_KEEPS)
    assert (answer.text, answer.supported, memory.pending) == (EDDA, True, True)
    assert not any(isinstance(event, IntervalDone) for event in events)
    memory.complete()
    assert any(isinstance(event, IntervalDone) for event in events)
    # Now it is in the cache, and so is the index that was made before.
    monkeypatch.setattr(search_file, "SearchIndex", lambda passages, tables: (passages, tables))
    again = model.read(documents, when_needed=True)
    assert not again.pending
    assert again.texts.index[1] is not None  # type: ignore[index]  # the stand-in above
    assert again.documents[0].condensed_now == 0
    assert (again.tokens, again.ratio, again.rows) == (memory.tokens, memory.ratio, memory.rows)


def test_what_the_cache_has_is_announced_and_not_loaded(
    model: Model, book: Path, says: Script, monkeypatch: Any
) -> None:
    says(EDDA)
    read = model.read(book).documents[0]
    manifest = Path(str(read.cache_path)) / MANIFEST
    os.utime(manifest, (0, 0))
    events: list[Any] = []
    monkeypatch.setattr(condenser, "load", None)
    memory = model.read(book, when_needed=True, progress=events.append)
    assert memory.ask(WHO_KEEPS).text == EDDA
    memory.complete()
    (told,) = (event for event in events if isinstance(event, Condensed))
    assert replace(told, seconds={}) == replace(read, seconds={}, condensed_now=0, from_cache=True)
    assert manifest.stat().st_mtime > 0  # it counts as a use
    monkeypatch.undo()
    assert memory.rows == read.rows


def test_it_is_the_answer_of_a_memory_that_is_there(model: Model, book: Path, says: Script) -> None:
    says(EDDA)
    for when_needed in (True, False):
        assert model.read(book, when_needed=when_needed).ask(WHO_KEEPS).text == EDDA
    first, second = says.asked
    assert first.equals(second)


@pytest.mark.parametrize("asked", [{}, {"passages": 0}])
def test_what_the_passages_do_not_say_is_asked_of_the_memory(
    model: Model, book: Path, says: Script, asked: dict[str, Any]
) -> None:
    says(*([] if asked else [REFUSAL]), EDDA)
    memory = model.read(book, when_needed=True)
    assert memory.ask(WHO_KEEPS, **asked).text == EDDA
    assert not memory.pending
    assert memory.documents[0].condensed_now > 0


def test_the_key_of_a_cache_waits_for_nothing(model: Model, book: Path, says: Script) -> None:
    says(EDDA)
    where = model.read(book).documents[0].cache_path
    memory = model.read(Path(str(where)).name, when_needed=True)
    assert (memory.ask(WHO_KEEPS).text, memory.pending) == (EDDA, False)


def test_several_documents_wait_together(model: Model, book: Path, tmp_path: Path, says: Script) -> None:
    says(EDDA)
    (tmp_path / "other.txt").write_text(story(20))
    memory = model.read([book, tmp_path / "other.txt"], when_needed=True)
    assert {text.name for text in memory.texts.documents} == {book.name, "other.txt"}
    answer = memory.ask(WHO_KEEPS)
    assert (answer.text, answer.citations[0].document, memory.pending) == (EDDA, book.name, True)
    assert len(memory.documents) == 2
    assert not memory.pending


def test_what_can_be_neither_read_nor_condensed_is_refused_at_once(model: Model, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        model.read(tmp_path / "missing.txt", when_needed=True)
    (tmp_path / "long.txt").write_text(story(8000))
    with pytest.raises(DocumentError, match=r"has .* tokens"):
        model.read(tmp_path / "long.txt", when_needed=True)


@pytest.mark.parametrize("no_cache", [False, True])
def test_the_tool_answers_and_then_condenses(
    scripted_model: Path, book: Path, tmp_path: Path, says: Script, monkeypatch: Any, no_cache: bool
) -> None:
    says(EDDA)
    cache = tmp_path / "cache"
    monkeypatch.setenv("BEACON_CACHE_DIR", str(cache))
    monkeypatch.setattr(ask, "load_model", lambda settings, console, _: _drawn(scripted_model, cache, console))
    result = run("ask", str(book), WHO_KEEPS, *(["--no-cache"] if no_cache else []))
    assert (result.code, result.out) == (0, f"{EDDA}\n")
    assert ("condensing for later questions" in result.err) == (not no_cache)
    assert (len(run("cache", "list", "--json").json) == 1) == (not no_cache)
    again = run("ask", str(book), WHO_KEEPS)
    assert (again.code, again.out) == (0, f"{EDDA}\n")
    assert ("condensing for later questions" in again.err) == no_cache


def _drawn(folder: Path, cache: Path, console: Any) -> Model:
    model = load(folder, cache)
    model._progress = console.draw
    return model

"""A model that was taught to refuse judges which of the passages found say something."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path

import pytest

import beacon_cli as beacon
from beacon_cli import Memory
from beacon_cli.answering import judging
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.prompts import REFUSAL, question_text
from tests.scripted import Script
from tests.stories import WHO_KEEPS

# Its words stand in the keeper's sentence and, some of them, everywhere else.
ASKED = f"{WHO_KEEPS} And who rested, on what road and day?"
Doubts = Callable[[Callable[[Passage], float]], list[Passage]]


@pytest.fixture
def memory(scripted_model: Path, book: Path, tmp_path: Path) -> Memory:
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    model.source = replace(model.source, passages_first=True)
    return model.read(book, ratio=4)


@pytest.fixture
def doubts(monkeypatch: pytest.MonkeyPatch) -> Doubts:
    """Says what the model is to think of a passage; what it was asked about comes back."""

    def doubt(of: Callable[[Passage], float]) -> list[Passage]:
        asked: list[Passage] = []

        def doubted(_engine: object, _reader: object, passage: Passage, _question: str) -> float:
            asked.append(passage)
            return of(passage)

        monkeypatch.setattr(judging, "_doubt", doubted)
        return asked

    return doubt


def test_the_doubt_is_the_probability_of_the_refusal(memory: Memory) -> None:
    engine, passage = memory._engine, memory.find(WHO_KEEPS, 1)[0]
    encode, frame = engine.source.tokenizer.encode, engine.source.frame
    reader = engine.reader(4)
    reader.condense_at(0)
    text = [*encode(passage.headed), *encode(question_text(WHO_KEEPS))]
    logits, expected = reader.read([*frame.opening, *text, *frame.closing]), 0.0
    for token in encode(REFUSAL):
        expected += float(logits.log_softmax(-1)[token])
        logits = reader.read([token])
    opened = engine.reader(4)
    opened.condense_at(0)
    opened.read(frame.opening)
    assert judging._doubt(engine, opened, passage, WHO_KEEPS) == pytest.approx(expected, rel=1e-3)


def test_what_says_something_comes_first_and_the_rest_as_search_has_it(memory: Memory, doubts: Doubts) -> None:
    found = memory.find(ASKED, 1000)
    asked = doubts(lambda passage: -9.0 if passage == found[6] else -1e-6)
    ranked = judging.judged(memory._engine, memory.texts.index, ASKED)
    assert asked == found[:7]
    assert ranked == [found[6], *found[:6], *found[7:]]


def test_no_more_is_read_than_it_takes(memory: Memory, doubts: Doubts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST", 8)  # the book has ten passages to find
    sure = doubts(lambda _passage: log(judging.UNSURE) - 1)
    judging.judged(memory._engine, memory.texts.index, ASKED)
    assert len(sure) == judging.SOME
    unsure = doubts(lambda _passage: log(judging.UNSURE) + 1)
    judging.judged(memory._engine, memory.texts.index, ASKED)
    assert len(unsure) == judging.MOST


def test_an_answer_is_made_of_what_was_judged(memory: Memory, says: Script, doubts: Doubts) -> None:
    last = memory.find(ASKED, judging.MOST)[-1]
    doubts(lambda passage: -9.0 if passage == last else -1e-6)
    says("Edda Voss")
    answer = memory.ask(ASKED, passages=2)
    assert answer.passages[-1] == answer.found[0] == last


def test_the_memory_alone_is_asked_without_judging(memory: Memory, says: Script, doubts: Doubts) -> None:
    asked = doubts(lambda _passage: -9.0)
    says("Edda Voss")
    assert memory.ask(ASKED, passages=0).text == "Edda Voss"
    assert asked == []

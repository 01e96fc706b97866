"""A model that was taught to refuse judges which of the passages found say something."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
import torch

import beacon_cli as beacon
from beacon_cli import Memory, Model
from beacon_cli.answering import asking, judging
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.prompts import REFUSAL, question_text
from beacon_cli.checkpoints.engine import Engine
from tests.scripted import Script
from tests.stories import FACT, WHO_KEEPS

# Its words stand in the keeper's sentence and, some of them, everywhere else.
ASKED = f"{WHO_KEEPS} And who rested, on what road and day?"
Doubts = Callable[[Callable[[Passage], float]], list[Passage]]


@pytest.fixture
def model(scripted_model: Path, tmp_path: Path) -> Model:
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    model.source = replace(model.source, passages_first=True)
    return model


@pytest.fixture
def memory(model: Model, book: Path) -> Memory:
    return model.read(book, ratio=4)


@pytest.fixture
def doubts(monkeypatch: pytest.MonkeyPatch) -> Doubts:
    """Says what the model is to think of a passage; what it was asked about comes back."""

    def doubt(of: Callable[[Passage], float]) -> list[Passage]:
        asked: list[Passage] = []

        def doubted(_engine: object, passage: Passage, _question: str) -> tuple[float, None]:
            asked.append(passage)
            return of(passage), None

        monkeypatch.setattr(judging, "_doubt", doubted)
        return asked

    return doubt


def test_the_doubt_is_the_probability_of_the_refusal(memory: Memory) -> None:
    engine, passage = memory._engine, replace(memory.find(WHO_KEEPS, 1)[0], text=FACT)
    encode, frame = engine.source.tokenizer.encode, engine.source.frame
    reader = engine.reader(4)
    reader.condense_at(0)
    text = [*encode(passage.headed), *encode(question_text(WHO_KEEPS))]
    logits, expected = reader.read([*frame.opening, *text, *frame.closing]), 0.0
    for token in encode(REFUSAL):
        expected += float(logits.log_softmax(-1)[token])
        logits = reader.read([token])
    doubt, read = judging._doubt(engine, passage, WHO_KEEPS)
    assert doubt == pytest.approx(expected, rel=1e-3)
    assert read is not None
    assert read.consumed == len(frame.opening) + len(encode(passage.headed))


def test_what_says_something_comes_first_and_the_rest_as_search_has_it(memory: Memory, doubts: Doubts) -> None:
    found = memory.find(ASKED, 1000)
    asked = doubts(lambda passage: -9.0 if passage == found[6] else -1e-6)
    ranked = judging.judged(memory._engine, memory.texts.index, ASKED)
    assert asked == found[:7]
    assert ranked.passages == [found[6], *found[:6], *found[7:]]


def test_no_more_is_read_than_it_takes(memory: Memory, doubts: Doubts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST", 8)  # the book has ten passages to find
    sure, unsure = log(judging.SURE), log(judging.UNSURE)
    limits = (sure - 0.1, 1), (sure + 0.1, judging.SOME), (unsure - 0.1, judging.SOME), (unsure + 0.1, judging.MOST)
    for doubt, read in limits:
        asked = doubts(lambda _passage, doubt=doubt: doubt)
        judging.judged(memory._engine, memory.texts.index, ASKED)
        assert len(asked) == read


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


def test_a_passage_is_not_read_again_after_it_was_judged(
    model: Model, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the same as if it were."""
    short, judged, reader, readers = model.read_text(f"{FACT} The road was long."), asking.judged, Engine.reader, []
    monkeypatch.setattr(Engine, "reader", lambda *asked: readers.append(reader(*asked)) or readers[-1])
    says("Edda Voss")
    short.ask(WHO_KEEPS).complete()
    assert len(readers) == 1
    monkeypatch.setattr(asking, "judged", lambda *asked: replace(judged(*asked), reader=None))
    short.ask(WHO_KEEPS).complete()
    assert len(readers) == 3
    once, twice = says.asked
    assert FACT in once.prompt
    assert once.prompt == twice.prompt
    for one, other in zip(once.logits, twice.logits, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)

"""A refusal is given from a probability on, where passages alone are read, not only where it is the likeliest."""

from collections.abc import Callable
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch

import beacon_cli as beacon
from activation_beacon import SequenceReader
from beacon_cli import Answer, Memory
from beacon_cli.answering import saying
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.answering.refusing import refusal, refuses
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.settings import Condense
from tests.scripted import WINDOW, Script
from tests.stories import WHO_KEEPS, story

EDDA = "Edda Voss"
Limited = Callable[[float | None], Memory]


@pytest.fixture
def limited(scripted_model: Path, book: Path, tmp_path: Path) -> Limited:
    """The book's memory, whose model from now on refuses from a probability on."""
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    model.source = replace(model.source, passages_first=True)
    memory = model.read(book, ratio=4)

    def from_now_on(limit: float | None) -> Memory:
        memory._engine = replace(memory._engine, source=replace(memory._engine.source, refuses_from=limit))
        return memory

    return from_now_on


def told(answer: Answer) -> tuple[Any, ...]:
    """All of an answer but the seconds."""
    whole = answer.complete()
    return list(answer), {**vars(whole), "seconds": sorted(whole.seconds)}


def said_alone(engine: Engine, reader: SequenceReader, logits: torch.Tensor) -> float:
    """The refusal's probability after what was read, token by token."""
    mark, found = reader.mark(), 0.0
    for token in refusal(engine):
        found += float(logits.log_softmax(-1)[token])
        logits = reader.read([token])
    reader.rewind(mark)
    return exp(found)


def probability(memory: Memory, says: Script, monkeypatch: pytest.MonkeyPatch) -> float:
    """That of the refusal when the passages are read."""
    found: list[float] = []

    def looking(engine: Engine, reader: SequenceReader, logits: torch.Tensor, _limit: float) -> bool:
        found.append(said_alone(engine, reader, logits))
        return False

    with monkeypatch.context() as patched:
        patched.setattr(saying, "refuses", looking)
        memory.ask(WHO_KEEPS, passages=2).complete()
    return found[0]


def test_what_is_refused_from_a_limit_on_is_as_if_the_model_had_said_it(limited: Limited, says: Script) -> None:
    says(REFUSAL, "Carl Pike")
    expected = told(limited(None).ask(WHO_KEEPS, passages=2))
    says(EDDA, "Carl Pike")
    assert told(limited(0.0).ask(WHO_KEEPS, passages=2)) == expected
    refused, after_memory = says.asked
    assert (refused.logits, len(after_memory.logits) > 0) == ([], True)
    assert expected[0] == [REFUSAL]
    assert (expected[1]["finished"], "first_token" in expected[1]["seconds"]) == ("stop", True)


def test_the_memory_is_asked_then_and_may_say_what_is_as_likely_none(limited: Limited, says: Script) -> None:
    says("Carl Pike", EDDA)
    answer = limited(0.0).ask(WHO_KEEPS, passages=2)
    assert (list(answer), answer.text, answer.supported) == ([EDDA], EDDA, True)
    assert len(says.asked) == 2


def test_the_limit_is_the_refusal_s_probability(
    limited: Limited, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(EDDA)
    likely = probability(limited(0.5), says, monkeypatch)
    assert likely > 0
    for limit, asked in ((0.9 * likely, 2), (1.1 * likely, 1)):
        says(EDDA, REFUSAL)
        assert limited(limit).ask(WHO_KEEPS, passages=2).text == (EDDA if asked == 1 else REFUSAL)
        assert len(says.asked) == asked


@pytest.mark.parametrize("limit", [1.0, 1.1, None])
def test_without_a_limit_that_can_be_met_all_is_as_before(
    limited: Limited, says: Script, monkeypatch: pytest.MonkeyPatch, limit: float | None
) -> None:
    """And where it is not met: what was tried leaves no trace, to the bit."""
    says(None)
    likely = probability(limited(0.5), says, monkeypatch)
    found = []
    for each in (None, 1.1 * likely if limit is None else limit):
        says(None)
        found.append((told(limited(each).ask(WHO_KEEPS, passages=2)), says.asked))
    (before, asked), (after, asked_again) = found
    assert after == before
    assert len(asked) == len(asked_again) > 0
    assert all(one.equals(other) for one, other in zip(asked, asked_again, strict=True))


@pytest.mark.parametrize("condense", ["beacon", "select"])
def test_what_has_read_a_prompt_goes_on_from_there(scripted_model: Path, tmp_path: Path, condense: Condense) -> None:
    """Where the refusal would end an interval, too."""
    engine = beacon.load(str(scripted_model), cache_dir=tmp_path, device="cpu", condense=condense).engine
    ids = engine.source.tokenizer.encode(story(40))
    window = engine.source.window
    assert window >= WINDOW
    for length in (window // 2, window - 1, window - 3, window):
        found = []
        for check in (False, True):
            reader = engine.reader(4)
            reader.condense_at(0)
            logits = reader.read(ids[:length])
            assert not check or refuses(engine, reader, logits, 0.0)
            reader.condense_at(4)
            found.append((reader.consumed, [reader.read([token]) for token in ids[length : length + 8]]))
        (tokens, before), (tokens_again, after) = found
        assert tokens == tokens_again == length
        assert all(map(torch.equal, before, after))


def test_a_sentence_that_cannot_be_likely_enough_is_not_read(
    scripted_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = beacon.load(str(scripted_model), cache_dir=tmp_path, device="cpu").engine
    reader = engine.reader(4)
    logits = reader.read(engine.source.tokenizer.encode("Who? "))
    first = float(logits.softmax(-1)[refusal(engine)[0]])
    monkeypatch.setattr(reader, "mark", None)  # to be called is an error
    assert not refuses(engine, reader, logits, 1.1 * first)
    with pytest.raises(TypeError):
        refuses(engine, reader, logits, 0.9 * first)


def test_it_is_refused_at_any_temperature(limited: Limited, says: Script) -> None:
    says(EDDA, REFUSAL)
    assert limited(0.0).ask(WHO_KEEPS, passages=2, temperature=2.0).text == REFUSAL
    assert len(says.asked) == 2


@pytest.mark.parametrize("how", [{"template": "Say: {question}"}, {"max_new_tokens": 2}, {"passages": 0}])
def test_where_the_limit_does_not_hold(limited: Limited, says: Script, how: dict[str, Any]) -> None:
    """The user's own words, no room for the sentence, the memory alone."""
    says(EDDA)
    answer = limited(0.0).ask(WHO_KEEPS, **{"passages": 2, **how})
    assert answer.generated > 0
    assert EDDA.startswith(answer.text)
    assert len(says.asked) == 1


def test_it_does_not_hold_for_what_goes_on_from_an_answer_nor_for_a_summary(limited: Limited, says: Script) -> None:
    says(EDDA)
    chat = limited(None).chat()
    assert chat.ask(WHO_KEEPS).text == EDDA
    limited(0.0)
    assert chat.ask("And who keeps the Morvane lighthouse now?").text == EDDA
    assert limited(0.0).summarize().text == EDDA

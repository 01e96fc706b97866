"""Prompt lookup: what is said, and what follows, does not depend on what was guessed; only fewer passes are made."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import beacon_cli as beacon
from activation_beacon import SequenceReader
from beacon_cli.answering.decoding import End, generate
from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.checkpoints import engine as engines
from beacon_cli.checkpoints.arithmetic import Arithmetic
from beacon_cli.checkpoints.engine import FEW_ROWS, Engine
from tests.stories import story

TEXT = story(40)


@pytest.fixture(params=["beacon", "select"])
def engine(
    request: pytest.FixtureRequest, scripted_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """In float32, in which passes of any number of rows give the same."""
    monkeypatch.setattr(engines, "fast_arithmetic", lambda: Arithmetic("float32", "float32"))
    cache = tmp_path / "cache"
    return beacon.load(str(scripted_model), cache_dir=cache, device="cpu", condense=request.param).engine


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many tokens each pass after a prompt is."""
    lengths, read_on = list[int](), PromptLookup._read_on

    def counting(asked: PromptLookup, ids: tuple[int, ...]) -> None:
        read_on(asked, ids)
        lengths.append(len(asked._rows))

    monkeypatch.setattr(PromptLookup, "_read_on", counting)
    return lengths


def prompted(engine: Engine, length: int, texts: Sequence[str] = (), back: int = 0) -> tuple[PromptLookup, list[int]]:
    """After so many tokens of a text."""
    ids, reader = engine.source.tokenizer.encode(TEXT)[:length], engine.reader(4)
    return PromptLookup(engine, reader, reader.read(ids), texts, back=back), ids


def follows(engine: Engine, ids: Sequence[int]) -> Tensor:
    """What follows these tokens, without any guess."""
    return engine.reader(4).read(ids)


@pytest.mark.parametrize("left", [60, 6, 2, 0])
@pytest.mark.parametrize("texts", [[], [TEXT], [TEXT[::-1]]], ids=["none", "right", "wrong"])
def test_what_follows_does_not_depend_on_guesses(engine: Engine, left: int, texts: list[str]) -> None:
    """Where an answer goes on beyond an interval, too."""
    length = engine.reader(4).window - left
    asked, ids = prompted(engine, length, texts)
    said = engine.source.tokenizer.encode(TEXT)[length : length + 12]
    for end in range(len(said)):
        torch.testing.assert_close(asked.following(tuple(said[:end])), follows(engine, [*ids, *said[:end]]))


@pytest.mark.parametrize("left", [60, 6, 2, 0])
def test_one_may_go_back_and_ask_what_follows_other_tokens(engine: Engine, left: int) -> None:
    """Where what was tried ended an interval, too."""
    asked, ids = prompted(engine, engine.reader(4).window - left, [TEXT], back=4)
    tried = [(), (5,), (5, 6), (5, 6, 7, 8), (9,), (9, 6), (5, 6), (5, 6), (), (5,), (9, 6, 7), (9, 6, 7, 8)]
    for more in tried:
        torch.testing.assert_close(asked.following(more), follows(engine, [*ids, *more]))


def test_what_is_quoted_takes_fewer_passes(engine: Engine, passes: list[int]) -> None:
    said = engine.source.tokenizer.encode(TEXT)[60:76]

    def quoted(texts: list[str]) -> list[int]:
        passes.clear()
        asked, _ = prompted(engine, 60, texts)
        for end in range(1, len(said) + 1):
            asked.following(tuple(said[:end]))
        return [*passes]

    assert quoted([]) == [1] * len(said)
    assert quoted([TEXT]) == [FEW_ROWS] * (len(said) // FEW_ROWS)


def test_no_guess_ends_an_interval(engine: Engine, passes: list[int]) -> None:
    length = engine.reader(4).window - 4
    asked, _ = prompted(engine, length, [TEXT])
    said = engine.source.tokenizer.encode(TEXT)[length : length + 10]
    for end in range(1, len(said) + 1):
        asked.following(tuple(said[:end]))
    # The last of the four that are left of the interval is read when it is said.
    assert passes == [3, 1, 4, 4]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_the_same_with_guesses(engine: Engine, temperature: float) -> None:
    def answered(texts: list[str]) -> Iterator[int | End]:
        torch.manual_seed(1)
        asked, _ = prompted(engine, 100, texts)
        return generate(engine, asked, max_new_tokens=40, temperature=temperature)

    plain = list(answered([]))
    text = engine.source.tokenizer.decode([token for token in plain if isinstance(token, int)])
    assert list(answered([text])) == plain == list(answered([TEXT]))


def test_an_answer_ends_where_the_context_does_with_guesses_too(engine: Engine) -> None:
    ends = []
    for texts in ([], [TEXT]):
        asked, _ = prompted(engine, 60, texts)
        room = engine.source.context - asked._reader.memory.size
        said = engine.source.tokenizer.encode(TEXT)[60:100]
        asked.following(tuple(said[:1]))
        count = next(count for count in range(room + 1) if not asked.has_room((*said, *[7] * room)[:count]))
        ends.append(count)
    # Among what is guessed there may be a beacon.
    assert 0 <= ends[0] - ends[1] <= 1
    assert room - 2 <= ends[0] <= room


def test_on_a_cuda_device_and_with_frequencies_that_grow_nothing_is_guessed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader: SequenceReader = engine.reader(4)
    logits = reader.read(engine.source.tokenizer.encode(TEXT)[:60])
    with_cuda = replace(engine, device=torch.device("cuda"))
    assert PromptLookup(with_cuda, reader, logits, [TEXT])._after == {}
    assert PromptLookup(engine, reader, logits, [TEXT])._after
    monkeypatch.setattr(type(engine.attached.rotary), "grows", True)
    assert PromptLookup(engine, reader, logits, [TEXT])._after == {}

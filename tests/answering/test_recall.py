"""Of the memory of a long text, a question is asked after what surrounds the passages that it is about."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import beacon_cli as beacon
from beacon_cli import Memory, Model
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.answering.recall import AROUND, recalled
from beacon_cli.condensing.placing import name_text
from tests.scripted import Script
from tests.stories import FACT, WHO_KEEPS, story

FIRST, SECOND = "first.txt", "second.txt"


@pytest.fixture
def model(scripted_model: Path, tmp_path: Path) -> Model:
    return beacon.load(str(scripted_model), condense="select", cache_dir=tmp_path / "cache", device="cpu")


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def parts_of(memory: Memory, question: str, count: int = 1) -> tuple[int, str]:
    """Of what is recalled: the tokens, and what of the unfinished interval is read."""
    placed = recalled(memory._engine, memory._placed, memory.find(question, count))
    return placed.whole().consumed, memory._engine.source.tokenizer.decode(placed.tail)


@pytest.mark.parametrize("place", [5, 30, 59])
def test_the_surroundings_of_a_passage_are_recalled(model: Model, tmp_path: Path, place: int) -> None:
    text = story(60, place)
    memory = model.read(written(tmp_path, FIRST, text), ratio=1)
    (passage,) = memory.find(WHO_KEEPS, 1)
    tokens, tail = parts_of(memory, WHO_KEEPS)
    start = memory.count(text[: text.index(passage.text)])
    reader = memory._placed.whole()
    sink, finished = reader.sink, reader.consumed
    span = range(sink + start - AROUND, sink + start + memory.count(passage.text) + AROUND)
    # With all rows kept, each token has left one; a few tokens are cut otherwise at the passage's ends.
    within = max(min(span.stop, finished) - max(span.start, sink), 0)
    assert abs(tokens - sink - within) <= 3
    assert (FACT in tail) == (place == 59)


def test_a_passage_is_found_in_the_memory_of_several_documents(model: Model, tmp_path: Path) -> None:
    """What is recalled of both has, after the document's name, the keys that its own memory has of the passage."""
    texts = {FIRST: story(14), SECOND: story(40, 10)}
    paths = [written(tmp_path, name, text) for name, text in texts.items()]
    together, alone = model.read(paths, ratio=1), model.read(paths[1], ratio=1)
    (passage,) = together.find(WHO_KEEPS, 1)
    assert (passage.document, FACT in passage.text) == (SECOND, True)
    found, own = (
        recalled(memory._engine, memory._placed, memory.find(WHO_KEEPS, 1)).whole().memory
        for memory in (together, alone)
    )
    source, sink = model.source, alone._placed.whole().sink
    named = len(source.frame.opening) + len(source.tokenizer.encode(name_text(SECOND, first=True)))
    assert torch.equal(found.counts - named, own.counts - sink)
    for mine, there in zip(found._heads(), own._heads(), strict=True):
        assert torch.equal(mine.free[named:], there.free[sink:])


def test_without_passages_or_with_a_beacon_all_of_it_is_read(
    model: Model, scripted_model: Path, book: Path, tmp_path: Path
) -> None:
    with_beacon = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    for each, words in ((model, "zyxwv"), (with_beacon, WHO_KEEPS)):
        memory = each.read(book, ratio=4)
        assert recalled(memory._engine, memory._placed, memory.find(words)) is memory._placed


def test_a_question_recalls_or_reads_all(model: Model, tmp_path: Path, says: Script) -> None:
    says("Edda Voss")
    memory = model.read(written(tmp_path, FIRST, story(60, 30)), ratio=4)
    rows = memory.rows
    for recall in (4, 0, 4, 0):
        assert memory.ask(WHO_KEEPS, passages=0, recall=recall).text == "Edda Voss"
    some, every, again, once_more = says.asked
    assert some.equals(again)
    assert every.equals(once_more)
    assert not some.equals(every)
    assert memory.rows == rows


def test_what_passages_do_not_say_is_asked_of_all_of_it(model: Model, tmp_path: Path, says: Script) -> None:
    says(REFUSAL, "Edda Voss", REFUSAL, "Edda Voss")
    model.source = replace(model.source, passages_first=True)
    memory = model.read(written(tmp_path, FIRST, story(60, 30)), ratio=4)
    for recall in (4, 0):
        assert memory.ask(WHO_KEEPS, passages=2, recall=recall).text == "Edda Voss"
    _, some, _, every = says.asked
    assert some.equals(every)

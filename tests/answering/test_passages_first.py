"""A model that the memory distracts is first asked with the passages alone."""

from dataclasses import replace
from pathlib import Path

import pytest

import beacon_cli as beacon
from beacon_cli import Memory
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.errors import SettingsError
from tests.scripted import CONTEXT, Script
from tests.stories import FACT, WHO_KEEPS


@pytest.fixture
def memory(scripted_model: Path, book: Path, tmp_path: Path) -> Memory:
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    model.source = replace(model.source, passages_first=True)
    return model.read(book, ratio=4)


@pytest.mark.parametrize(
    ("said", "text", "supported"),
    [
        (["Edda Voss"], "Edda Voss", True),
        ([REFUSAL, "Edda Voss"], "Edda Voss", True),
        ([REFUSAL, "Carl Pike"], REFUSAL, None),
        ([REFUSAL, REFUSAL], REFUSAL, None),
        (["Carl Pike"], "Carl Pike", False),
    ],
)
def test_the_memory_is_asked_if_the_passages_do_not_say(
    memory: Memory, says: Script, said: list[str], text: str, supported: bool | None
) -> None:
    says(*said)
    answer = memory.ask(WHO_KEEPS, passages=2)
    assert ("".join(answer), answer.text, answer.supported) == (text, text, supported)
    assert len(says.asked) == len(said)
    assert FACT in says.asked[0].prompt
    if len(said) > 1:
        # The second prompt stands after the memory, the first at the beginning of everything.
        assert says.asked[1].prompt.endswith(says.asked[1].request)
        assert not says.asked[0].equals(says.asked[1])


def test_an_answer_from_passages_streams_and_a_refusal_does_not(memory: Memory, says: Script) -> None:
    says("The text tells of Edda Voss", REFUSAL, REFUSAL)
    pieces = list(memory.ask(WHO_KEEPS, passages=2))
    assert len(pieces) > 2
    assert "".join(pieces) == "The text tells of Edda Voss"
    assert list(memory.ask(WHO_KEEPS, passages=2)) == [REFUSAL]


def test_without_passages_the_memory_alone_is_asked(memory: Memory, says: Script) -> None:
    says("Carl Pike")
    assert memory.ask(WHO_KEEPS, passages=0).text == "Carl Pike"
    assert [FACT in asked.prompt for asked in says.asked] == [False]


def test_where_no_passage_fits_beside_the_answer_nothing_is_asked_without_any(memory: Memory, says: Script) -> None:
    says("Carl Pike")
    with pytest.raises(SettingsError, match="do not fit after the document"):
        memory.ask(WHO_KEEPS, max_new_tokens=CONTEXT - 60).complete()
    assert not says.asked


def test_an_answer_from_passages_does_not_depend_on_the_ratio(
    memory: Memory, scripted_model: Path, book: Path, tmp_path: Path, says: Script
) -> None:
    says("Edda Voss")
    memory.ask(WHO_KEEPS, passages=2).complete()
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    model.source = replace(model.source, passages_first=True)
    model.read(book, ratio=8).ask(WHO_KEEPS, passages=2).complete()
    first, second = says.asked
    assert first.equals(second)

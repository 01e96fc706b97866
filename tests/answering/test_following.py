"""What is looked for when a question is asked after another."""

from pathlib import Path

import pytest

import beacon_cli as beacon
from beacon_cli.answering.request import Turn
from tests.scripted import Script
from tests.stories import FACT

BEFORE = (Turn("Where did they rest on the road?", "Under a wall."),)


@pytest.mark.parametrize(
    ("question", "goes_on"),
    [("And when?", True), ("On what day?", True), ("Who is Edda Voss?", False), ("who is edda voss", False)],
)
def test_a_question_that_names_nothing_goes_on_from_the_one_before(
    scripted_model: Path, book: Path, tmp_path: Path, says: Script, question: str, goes_on: bool
) -> None:
    memory = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu").read(book, ratio=4)
    says("Edda Voss")
    found = memory.ask(question, passages=2, history=BEFORE).found
    sought = f"{BEFORE[0].question} {question}" if goes_on else question
    assert list(found) == memory.find(sought, 5)
    assert (FACT in found[0].text) is not goes_on

"""The recipe for one GPU: what it trains on is what the library reads, and all of it runs, on the CPU, at toy size."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from activation_beacon import Beacon, BeaconConfig, Planner, attach
from recipes.smollm2 import base
from recipes.smollm2.__main__ import main
from recipes.smollm2.conversations import without_sentence
from recipes.smollm2.decoder import PARAM, Beacons, Decoder
from recipes.smollm2.learning import refusals, right_answers
from recipes.smollm2.rows import Piece
from recipes.smollm2.sheets import Lesson, batch, of_pieces
from recipes.smollm2.sources import Passage, Question

WINDOW = 8


@pytest.fixture(scope="module")
def model() -> Any:
    return base.tiny_base()[0]


@pytest.fixture
def lesson() -> Lesson:
    chance = random.Random(0)

    def ids(count: int) -> list[int]:
        return [chance.randrange(2, 250) for _ in range(count)]

    return Lesson(ids(3 * WINDOW + 3), [(ids(5), ids(3)) for _ in range(3)], [3, 9, 20])


class _Ratios:
    """The given ratios, then raw."""

    def __init__(self, ratios: list[int]) -> None:
        self.left = list(ratios)

    def choose(self, received: int, passes: int) -> int:
        return self.left.pop(0) if self.left else 0


def test_uncondensed_reading_is_that_of_transformers(model: Any, lesson: Lesson) -> None:
    decoder = Decoder(model, torch.float32, "cpu", compiled=False)
    sheets = batch([lesson.sheet()], 64, 0, 1)
    logits = decoder.logits(decoder(sheets))
    for number, (before, answer) in enumerate(lesson.asks):
        expected = model(torch.tensor([[*lesson.ids, *before, *answer]])).logits[0, len(lesson.ids) :]
        torch.testing.assert_close(logits[0, sheets.owner[0] == number], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("ratios", [[2, 2, 2], [8, 8, 8], [2, 8, 4]])
def test_condensed_reading_is_that_of_the_library(model: Any, lesson: Lesson, ratios: list[int]) -> None:
    config = BeaconConfig(window=WINDOW, stride=WINDOW, ratios=(2, 4, 8))
    beacon = Beacon.like(config, model)
    beacon.copy_base(model, token=1)
    with torch.no_grad():
        for parameter in beacon.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    weights = {p: torch.stack([layer[p].weight for layer in beacon.layers]) for p in PARAM}
    decoder = Decoder(model, torch.float32, "cpu", compiled=False)
    # Beside a shorter document, whose rows must not be seen.
    sheets = batch([lesson.sheet(WINDOW, ratios), lesson.sheet(WINDOW, ratios[:2])], 96, 24, 1)
    logits = decoder.logits(decoder(sheets, None, Beacons(weights, beacon.embedding)))
    with attach(model, beacon) as attached:
        for number, (before, answer) in enumerate(lesson.asks):
            reader = attached.reader(Planner(config, _Ratios(ratios)))
            reader.read(lesson.ids)
            last = reader.read([*before, *answer])
            got = logits[0, sheets.owner[0] == number][-1]
            torch.testing.assert_close(got, last, atol=1e-6, rtol=1e-5)


def test_the_same_is_learned_whatever_the_ratios(lesson: Lesson) -> None:
    plain, condensed = lesson.sheet(), lesson.sheet(WINDOW, [2, 4, 8])
    assert plain.targets == condensed.targets
    assert plain.answer == condensed.answer
    for sheet in (plain, condensed):
        told = [(sheet.ids[place], target) for place, target in zip(sheet.places, sheet.targets, strict=True)]
        asked = [pair for before, answer in lesson.asks for pair in zip([before[-1], *answer], answer, strict=False)]
        assert told == [(lesson.ids[token - 1], lesson.ids[token]) for token in lesson.read] + asked


def test_answers_count_as_right_only_whole() -> None:
    first, second = Piece(), Piece()
    for piece in (first, second):
        at = piece.add([5, 6], 0)
        at = piece.add([7, 8], at, 0, learned=True)
        piece.add([9, 8], at, 1, learned=False)
    first.add([7, 8], 4, 2, learned=True)
    sheets = batch([of_pieces([first, second])], 16, 0, 0)
    assert sheets.answer.tolist() == [0, 0, 1, 1, 2, 2]
    predicted = sheets.targets.clone()
    predicted[3] += 1
    assert right_answers(predicted, sheets).tolist() == [1, 0, 1]
    assert refusals(sheets, 7).tolist() == [True, True, True]


def test_without_its_sentence_a_question_has_no_answer() -> None:
    questions = (Question("Where?", ("Rome",)), Question("When?", ("1900",)), Question("Who?", ("Bo",)))
    passage = Passage("squad", "a", "Bo lives in Rome. He was born in 1900. Bo has a cat.", questions)
    seen = set()
    for number in range(20):
        cut = without_sentence(passage, random.Random(number))
        seen.add(cut.text)
        for question in cut.questions:
            assert all(answer in cut.text for answer in question.answers)
            if not question.answers:
                assert not any(answer in cut.text for q in questions if q.text == question.text for answer in q.answers)
    assert seen == {passage.text, "He was born in 1900. Bo has a cat.", "Bo lives in Rome. Bo has a cat."}


def test_all_of_it_runs_and_leaves_what_the_tool_loads(tmp_path: Path) -> None:
    main(["gpu", "--size", "smoke", "--tiny", "--rank", "4", "--look", "1", "--out", str(tmp_path)])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["what"] for line in lines} == {"reader", "beacon"}
    assert set(lines[-1]["held"]) == {"2", "4", "8", "16", "32"}
    model, _ = base.tiny_base()
    beacon = Beacon.like(BeaconConfig(window=32, stride=32, ratios=(2, 4, 8, 16, 32)), model)
    parts = [load_file(tmp_path / f"beacon-{part}.safetensors") for part in range(3)]
    beacon.load_state_dict({name: tensor for part in parts for name, tensor in part.items()})
    reader = load_file(tmp_path / "reader.safetensors")
    assert reader["model.layers.0.mlp.down_proj.lora_B"].shape == (32, 4)

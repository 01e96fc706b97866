"""The recipe of the default model's adapters: it reads as the library does, and all of it runs, small."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import beacon_smollm2
from activation_beacon import Beacon, BeaconConfig, Planner, attach
from activation_beacon.checkpoint import load_beacon, read_info
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.default_model import base_file
from recipes.smollm2 import base, learning, sources
from recipes.smollm2.batches import Plan, ReaderBatches
from recipes.smollm2.conversations import Ask, Conversation, read_again, without_sentence
from recipes.smollm2.decoder import PARAM, Beacons, Decoder
from recipes.smollm2.evaluation import answers, sets
from recipes.smollm2.learning import right_answers
from recipes.smollm2.rows import Layout, Piece, piece
from recipes.smollm2.scorer import pieces
from recipes.smollm2.sheets import Lesson, batch, of_pieces
from recipes.smollm2.sources import HELD_OUT, Passage, Question
from tests.recipes.smallest import composer, run

WINDOW = 8
PETS = {"Adam": "dog", "Flora": "goat", "Gustav": "cat"}


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


def test_all_of_it_runs_and_leaves_what_the_tool_loads(
    made: Path, tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_file(made / "beacon.checkpoint.safetensors")
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    assert {line["what"] for line in lines} == {"reader", "beacon"}
    assert set(lines[-1]["held"]) == {"2", "4", "8", "16", "32"}
    config = json.loads((made / "reader.json").read_text("utf-8"))
    assert (config["steps"], config["refusal"]) == (6, REFUSAL)
    reader = load_file(made / "reader.safetensors")
    assert reader["model.layers.0.mlp.down_proj.lora_B"].shape == (32, config["rank"])
    assert load_beacon(made / "beacon", model).config.window == 32
    parts = interrupted(tmp_path / "parts", monkeypatch)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The same, of a run that is killed in its fourth step of both, and has to begin the one before again."""
    clip, steps = nn.utils.clip_grad_norm_, 0

    def killed(*arguments: Any) -> Tensor:
        nonlocal steps
        steps += 1
        if steps in (4, 11):
            raise KeyboardInterrupt
        return clip(*arguments)

    monkeypatch.setattr(learning, "KEEP_EVERY", 2)
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    return run(folder)


@pytest.mark.skipif(base_file() is None, reason="the base of the default model is not here")
def test_the_beacon_is_bound_to_the_model_that_the_tool_makes() -> None:
    folder = beacon_smollm2.FOLDER
    assert base.merged_fingerprint(folder) == read_info(folder / "beacon").base_fingerprint


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
    for made in (first, second):
        at = made.add([5, 6], 0)
        at = made.add([7, 8], at, 0, learned=True)
        made.add([9, 8], at, 1, learned=False)
    first.add([7, 8], 4, 2, learned=True)
    sheets = batch([of_pieces([first, second])], 16, 0, 0)
    assert sheets.answer.tolist() == [0, 0, 1, 1, 2, 2]
    predicted = sheets.targets.clone()
    predicted[3] += 1
    assert right_answers(predicted, sheets).tolist() == [1, 0, 1]


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


def test_every_batch_is_the_same_whenever_it_is_made_and_has_targets(layout: Layout) -> None:
    plan = Plan(1, 2, 512, 1e-3)
    made = ReaderBatches(composer(), layout, plan, seed=1)
    for index in (7, 3, 7, 0):
        sheets, again = made[index], ReaderBatches(composer(), layout, plan, seed=1)[index]
        assert sheets.ids.shape == sheets.positions.shape == (2, 512)
        assert torch.equal(sheets.ids, again.ids)
        assert torch.equal(sheets.places, again.places)
        assert len(sheets.targets) > 0
        assert torch.equal(sheets.targets, sheets.ids.flatten()[sheets.places + 1])


def test_an_answer_is_learned_whole_or_not_at_all(layout: Layout) -> None:
    passage = sources.made_up(0)["squad"][0]
    asks = tuple(Ask(question) for question in passage.questions)
    for turns in (False, True):
        conversation = Conversation(passage.text, asks, turns)
        longest = len(piece(conversation, layout, 10_000).ids)  # type: ignore[union-attr]  # it fits
        for room in range(0, longest + 1, 7):
            made = piece(conversation, layout, room)
            if made is None:
                continue
            assert len(made.ids) <= room
            learned = layout.decode([made.ids[place] for place in made.learned if made.ids[place] != layout.end])
            ends = sum(made.ids[place] == layout.end for place in made.learned)
            assert ends >= 1
            answered = [q.target for q in passage.questions]
            assert len(learned) in {sum(map(len, pick)) for pick in _choices(answered) if len(pick) == ends}


def _choices(answers: list[str]) -> list[list[str]]:
    return [[a for bit, a in enumerate(answers) if number >> bit & 1] for number in range(2 ** len(answers))]


def test_each_question_is_computed_as_if_it_were_the_only_one(model: Any, layout: Layout) -> None:
    passages = sources.made_up(0)["squad"]
    conversations = [
        Conversation(passage.text, tuple(Ask(q) for q in passage.questions), turns)
        for passage, turns in zip(passages, (False, True, False), strict=False)
    ]
    pieces = [made for conversation in conversations if (made := piece(conversation, layout, 10_000))]
    sheets = batch([of_pieces(pieces)], sum(len(made.ids) for made in pieces) + 5, 0, layout.end)
    decoder = Decoder(model, torch.float32, "cpu", compiled=False)
    predicted = decoder(sheets)[0][sheets.places]
    start = 0
    for conversation in conversations:
        history = layout.prompt(conversation.document, conversation.asks[0].text())
        for number, ask in enumerate(conversation.asks):
            target = [*layout.ids(ask.question.target), layout.end]
            if number and conversation.turns:
                history += [*layout.between[1:], *layout.ids(f"Question: {ask.question.text}"), *layout.closing]
            elif number:
                history = layout.prompt(conversation.document, ask.text())
            seen = model.model(input_ids=torch.tensor([[*history, *target]])).last_hidden_state[0]
            alone = seen[len(history) - 1 : -1]
            torch.testing.assert_close(predicted[start : start + len(target)], alone, atol=1e-4, rtol=1e-4)
            history += target
            start += len(target)


def test_questions_about_something_else_are_refused_and_no_answer_stands_in_the_text() -> None:
    made, refused = composer(foreign=1.0), 0
    for number in range(200):
        conversation = made.conversation(random.Random(number))
        for ask in conversation.asks:
            refused += ask.question.target == REFUSAL
            if ask.question.target != REFUSAL:
                assert ask.question.target in conversation.document
            assert set(ask.again) <= {ask.again[-1], *ask.again} if ask.again else True
    assert refused > 200


def test_what_is_read_again_shares_most_with_the_question_last() -> None:
    document = "\n\n".join(f"{name} keeps a {pet}. " + "It is quiet there. " * 30 for name, pet in PETS.items())
    again = read_again(document, "What does Flora keep?")
    assert len(again) == 2
    assert "Flora keeps a goat" in again[-1]
    assert all(len(text.split()) <= 100 for text in again)


def test_answering_in_batches_is_answering_one_by_one(model: Any, layout: Layout) -> None:
    cases = sets(sources.made_up(2), 3)["single"]
    together = answers(model, layout, cases, 5)
    assert together == [answers(model, layout, [case], 5)[0] for case in cases]


def test_nothing_held_out_is_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = "one two three four five six seven eight nine"
    articles = ["Free", *sorted(HELD_OUT["test"] | HELD_OUT["dev"])]
    files = {
        "squad/contexts": [{"context_id": a, "doc_id": a, "context": f"{secret} {a}"} for a in articles[1:]]
        + [{"context_id": "Free", "doc_id": "Free", "context": "nothing of that"}],
        "squad/qa": [{"context_id": a, "question": "Who?", "answers": []} for a in articles],
        "factbook/countries": [
            {"doc_id": key, "title": "T", "document": "T\n\nLand\n\nArea. one"} for key in ("x/y", "europe/ic")
        ],
        "factbook/qa": [],
        "quoref/quoref": [
            {"context": f"And {secret}.", "question": "Who?", "answers": ["nine"]},
            {"context": "something else", "question": "Who?", "answers": ["else."]},
        ],
    }
    monkeypatch.setattr(
        sources, "rows", lambda path: iter(files.get(f"{path.parent.name}/{path.name.partition('.')[0]}", []))
    )
    train = sources.load(tmp_path, "train")
    assert {p.group for p in train["squad"]} == {"Free"}
    assert {p.group for p in train["factbook"]} == {"x/y"}
    assert [p.questions[0].answers for p in train["quoref"]] == [("else",)]
    dev, test = sources.load(tmp_path, "dev"), sources.load(tmp_path, "test")
    assert not {p.group for p in dev["squad"]} & {p.group for p in test["squad"]}
    assert {p.group for p in test["factbook"]} == {"europe/ic"}
    assert len(sources.DEV_COUNTRIES | sources.TEST_COUNTRIES) == 40


def test_a_country_s_questions_are_put_to_the_section_that_holds_their_field(monkeypatch: pytest.MonkeyPatch) -> None:
    countries = [
        {"doc_id": str(n), "title": f"C{n}", "document": f"C{n}\n\nGovernment\n\nCapital. name: City{n}\n\nHead. Z{n}"}
        for n in range(25)
    ]
    asked = [
        {"doc_id": str(n), "question": f"What is the capital of C{n}?", "answers": [f"City{n}"]} for n in range(25)
    ]
    found = {"countries": countries, "qa": asked}
    monkeypatch.setattr(sources, "rows", lambda path: iter(found[path.name.partition(".")[0]]))
    passages = sources._factbook(Path())
    assert passages[3] == Passage(
        "factbook",
        "3",
        "C3 › Government\n\nCapital. name: City3\n\nHead. Z3",
        (Question("What is the capital of C3?", ("City3",)),),
    )


def test_the_scorer_is_fitted_to_the_same_pieces_of_every_kind() -> None:
    made, prose = sources.made_up(0)["squad"], ["To be read. " * 30_000, "Another book. " * 30_000]
    encode = Layout(base.tiny_base()[1]).encode
    found, again = (pieces(encode, 200, {"squad": made, "factbook": made}, prose) for _ in range(2))
    assert found == again
    assert [len(piece) for piece in found] == [200] * 4
    assert len({tuple(piece) for piece in found}) == 4

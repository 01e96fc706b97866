"""The recipe of the default model's reader, on a tiny random model and passages that are made up."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from beacon_cli.answering.prompts import REFUSAL
from recipes.smollm2 import attention, base, sources
from recipes.smollm2.__main__ import main
from recipes.smollm2.adapter import adapted, add_adapter, merge_adapter
from recipes.smollm2.conversations import Ask, Composer, Conversation, Mix, read_again
from recipes.smollm2.evaluation import Case, answers, scores, sets
from recipes.smollm2.rows import Layout, assemble, make_row, mask, piece
from recipes.smollm2.scorer import pieces
from recipes.smollm2.sources import HELD_OUT, Passage, Question


@pytest.fixture
def layout() -> Layout:
    return Layout(base.tiny_base()[1])


def composer(**mix: float) -> Composer:
    return Composer(sources.made_up(0), Mix({"squad": 1.0}, **mix))  # type: ignore[arg-type]  # by name


def hidden(model: torch.nn.Module, ids: list[int]) -> Tensor:
    """The last hidden states of a text by itself, (tokens, hidden)."""
    return model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]  # type: ignore[operator, union-attr, no-any-return]


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    command = ["reader", "--size", "smoke", "--threads", "1", "--out"]
    main([*command, str(tmp_path / "whole")])
    main([*command, str(tmp_path / "parts"), "--until", "2"])
    main([*command, str(tmp_path / "parts"), "--until", "5"])
    main([*command, str(tmp_path / "parts")])
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    losses = [
        [
            line["loss"]
            for line in map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
            if "loss" in line
        ]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    config = json.loads((tmp_path / "whole" / "reader.json").read_text("utf-8"))
    assert (config["steps"], config["refusal"]) == (6, REFUSAL)
    shipped = load_file(tmp_path / "whole" / "reader.safetensors")
    assert shipped["model.layers.0.self_attn.q_proj.lora_A"].shape == (config["rank"], 32)
    assert json.loads((tmp_path / "whole" / "results.json").read_text("utf-8"))["single"]["questions"] == 2


def test_evaluating_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "--size", "smoke", "--questions", "1", "--most", "2"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["set"] for line in lines] == ["single", "among_2", "among_5", "unanswerable"]


def test_every_row_is_the_same_whenever_it_is_made_and_has_targets(layout: Layout) -> None:
    made = composer()
    for index in (7, 3, 7, 0):
        row = make_row(made, layout, 512, seed=1, index=index, dtype=torch.float32)
        again = make_row(composer(), layout, 512, seed=1, index=index, dtype=torch.float32)
        assert row.ids.shape == row.positions.shape == (1, 512)
        assert sum(len(part) for part in row.masks) == 512
        assert torch.equal(row.ids, again.ids)
        assert torch.equal(row.places, again.places)
        assert len(row.targets) > 0
        assert torch.equal(row.targets, row.ids[0, row.places + 1])


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


def test_each_question_is_computed_as_if_it_were_the_only_one(layout: Layout) -> None:
    model, _ = base.tiny_base()
    model.set_attn_implementation(attention.NAME)
    plain, _ = base.tiny_base()
    passages = sources.made_up(0)["squad"]
    conversations = [
        Conversation(passage.text, tuple(Ask(q) for q in passage.questions), turns)
        for passage, turns in zip(passages, (False, True, False), strict=False)
    ]
    pieces = [made for conversation in conversations if (made := piece(conversation, layout, 10_000))]
    row = assemble(pieces, layout, sum(len(made.ids) for made in pieces) + 5, torch.float32)
    with attention.within(row.masks):
        seen = model.model(input_ids=row.ids, position_ids=row.positions, use_cache=False)
    predicted = seen.last_hidden_state[0][row.places]
    start = 0
    for conversation in conversations:
        history = layout.prompt(conversation.document, conversation.asks[0].text())
        for number, ask in enumerate(conversation.asks):
            target = [*layout.ids(ask.question.target), layout.end]
            if number and conversation.turns:
                history += [*layout.between[1:], *layout.ids(f"Question: {ask.question.text}"), *layout.closing]
            elif number:
                history = layout.prompt(conversation.document, ask.text())
            alone = hidden(plain, [*history, *target])[len(history) - 1 : -1]
            torch.testing.assert_close(predicted[start : start + len(target)], alone, atol=1e-4, rtol=1e-4)
            history += target
            start += len(target)


def test_the_attention_that_is_written_out_is_torch_s_and_so_are_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 7)
    torch.manual_seed(0)
    owners = [[-1] * 20, [-1] * 9 + [0] * 4 + [1] * 8, [-1] * 3]
    masks = [mask(owner, torch.float32) for owner in owners]
    q, k, v = (torch.randn(1, heads, 44, 8, requires_grad=True) for heads in (4, 2, 2))
    upstream = torch.randn(1, 44, 4, 8)
    with attention.within(masks):
        out, _ = attention.attend(torch.nn.Module(), q, k, v, None, scaling=0.5)
    whole = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, torch.block_diag(*(m.exp() for m in masks)).log(), scale=0.5, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(out, whole)
    ours, theirs = (torch.autograd.grad(result, (q, k, v), upstream) for result in (out, whole))
    torch.testing.assert_close(ours, theirs)


def test_an_adapter_starts_as_nothing_and_merged_computes_the_same() -> None:
    model, _ = base.tiny_base()
    ids = list(range(20))
    before = hidden(model, ids)
    add_adapter(model, 4, 8.0)
    assert torch.allclose(hidden(model, ids), before, atol=1e-5)
    for _, module in adapted(model):
        torch.nn.init.normal_(module.lora_B, std=0.1)
    changed = hidden(model, ids)
    assert not torch.allclose(changed, before, atol=1e-2)
    merge_adapter(model)
    assert not list(adapted(model))
    torch.testing.assert_close(hidden(model, ids), changed, atol=1e-4, rtol=1e-4)


def test_a_mask_shows_the_document_and_the_own_question() -> None:
    shown = mask([-1, -1, 0, 0, 1], torch.float32) == 0
    assert shown.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


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


PETS = {"Adam": "dog", "Flora": "goat", "Gustav": "cat"}


def test_answers_are_scored_as_squad_does() -> None:
    cases = [Case("", Question("?", ("the red House", "a barn"))), Case("", Question("?", ()))]
    given = ["Red house!", "The text does not say"]
    assert scores(cases, given) == {"exact": 100.0, "f1": 100.0, "contained": 100.0, "refused": 50.0}
    assert scores(cases, ["It is the red house.", "no"])["contained"] == 50.0


def test_answering_in_batches_is_answering_one_by_one(layout: Layout) -> None:
    model, _ = base.tiny_base()
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

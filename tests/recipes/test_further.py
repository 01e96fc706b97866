"""The reader, trained further: altered passages, questions ahead of the text, and what is told of those held out."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from beacon_cli.answering.prompts import REFUSAL
from recipes.smollm2 import base, further, mean, sources
from recipes.smollm2.alterations import Alterations
from recipes.smollm2.batches import Plan, ReaderBatches
from recipes.smollm2.conversations import Ask, ahead_of
from recipes.smollm2.decoder import Decoder, visibility
from recipes.smollm2.held_out import HeldOut
from recipes.smollm2.parts import attend, parts_of
from recipes.smollm2.rows import Layout, piece
from recipes.smollm2.sheets import PADDING
from recipes.smollm2.sources import Passage, Question
from tests.recipes.smallest import composer


def test_a_reader_trained_further_is_averaged_with_what_it_was(made: Path, tmp_path: Path) -> None:
    found = {}
    for share in (0.0, 0.25, 1.0):
        out = tmp_path / str(share)
        more = ["--ahead", "0.5"] if share else ["--ahead", "0.5", "--steps", "2"]
        further.main(["--size", "smoke", "--reader", str(made), "--out", str(out), "--share", str(share), *more])
        found[share] = load_file(out / "reader.safetensors")
    before = load_file(made / "reader.safetensors")
    for name, weight in before.items():
        assert torch.equal(found[0.0][name], weight)
        expected = torch.lerp(weight.float(), found[1.0][name].float(), 0.25)
        torch.testing.assert_close(found[0.25][name].float(), expected, atol=2e-4, rtol=2**-7)
    assert any(not torch.equal(found[1.0][name], weight) for name, weight in before.items())
    config = json.loads((tmp_path / "1.0" / "reader.json").read_text("utf-8"))
    assert (config["steps"], config["further"]["steps"], config["further"]["share"]) == (6, 3, 1.0)
    lines = [json.loads(line) for line in (tmp_path / "1.0" / "metrics.jsonl").read_text().splitlines()]
    looks = [(ahead, share) for ahead in (False, True) for share in further.SHARES]
    assert [(line["ahead"], line["share"]) for line in lines[-10:]] == looks


def test_readers_are_averaged(made: Path, tmp_path: Path) -> None:
    further.main(["--size", "smoke", "--reader", str(made), "--out", str(tmp_path / "1"), "--share", "1"])
    mean.main([str(tmp_path / "mean"), str(made), str(tmp_path / "1"), str(tmp_path / "1")])
    before, after, found = (
        load_file(each / "reader.safetensors") for each in (made, tmp_path / "1", tmp_path / "mean")
    )
    for name, weight in found.items():
        expected = (before[name].float() + 2 * after[name].float()) / 3
        torch.testing.assert_close(weight.float(), expected, atol=1e-6, rtol=2**-8)
    config = json.loads((tmp_path / "mean" / "reader.json").read_text("utf-8"))
    tokens = json.loads((tmp_path / "1" / "reader.json").read_text("utf-8"))["further"]["tokens"]
    assert config == json.loads((made / "reader.json").read_text("utf-8")) | {
        "further": {"runs": 2, "tokens": 2 * tokens}
    }


@pytest.mark.parametrize("ahead", [False, True])
def test_what_is_told_of_a_question_is_what_it_is_answered_alone(
    made: Path, model: Any, layout: Layout, ahead: bool
) -> None:
    decoder, passages = Decoder(model, torch.float32, "cpu", compiled=False), sources.made_up(1)["squad"][:5]
    found = HeldOut(layout, passages, Plan(1, 2, 700, 0), ahead).told(decoder, further.read(made, decoder), "cpu")
    merged = base.tiny_base()[0].float()
    base.merge_reader(merged, made)
    asked = [(passage, question) for passage in passages for question in passage.questions]
    assert found.answerable.tolist() == [bool(question.answers) for _, question in asked]
    for number, (passage, question) in enumerate(asked):
        document = ahead_of(question, passage.text) if ahead else passage.text
        prompt = layout.prompt(document, Ask(question).text())
        for target, text in ((True, REFUSAL), (False, question.target)):
            ids = [*layout.ids(text), layout.end]
            logits = merged(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            whole = logits.argmax(-1).tolist() == ids
            if target:
                assert found.refused[number] == whole
                doubt = logits.gather(1, torch.tensor(ids)[:, None])[:-1].sum()
                torch.testing.assert_close(found.doubt[number], doubt, atol=0.2, rtol=0.01)
            elif question.answers:
                assert found.right[number] == whole


def test_attention_by_parts_and_its_gradients_are_those_of_a_mask(layout: Layout) -> None:
    sheets = ReaderBatches(composer(), layout, Plan(1, 2, 700, 1e-3), seed=3)[0]
    inputs = [torch.randn(2, 3, 700, 8, generator=torch.Generator().manual_seed(n)) for n in range(4)]
    places = torch.arange(700)
    sees = visibility(sheets, False)(
        torch.arange(2)[:, None, None], torch.zeros(1, dtype=torch.long), places[:, None], places
    )
    real = (sheets.group != PADDING)[:, None, :, None]
    found = []
    for by_parts in (False, True):
        query, key, value = (each.clone().requires_grad_() for each in inputs[:3])
        if by_parts:
            seen = attend(query, key, value, parts_of(sheets, torch.float32))
        else:
            seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=sees[:, None])
        seen = torch.where(real, seen, 0)
        (seen * inputs[3]).sum().backward()  # type: ignore[no-untyped-call]  # untyped in torch
        found.append((seen, query.grad, key.grad, value.grad))
    for dense, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, dense, atol=1e-5, rtol=1e-5)


def test_an_altered_passage_answers_what_it_says_it_does() -> None:
    questions = (
        Question("When did Ada Lovelace write it?", ("1843",)),
        Question("Who built the engine?", ("Charles Babbage",)),
        Question("Who read it in Turin?", ()),
    )
    told = "In 1843 Ada Lovelace wrote of the engine that Charles Babbage built. Then Ada Lovelace rested."
    others = [Passage("squad", "b", "So in 1911 Marie Curie met Albert Einstein.", ())]
    passage = Passage("squad", "a", told, questions)
    alterations, refused, texts = Alterations([passage, *others]), 0, set()
    for number in range(60):
        altered = alterations.altered(passage, random.Random(number))
        texts.add(altered.text)
        for question in altered.questions:
            assert all(answer in altered.text for answer in question.answers)
            if question.text.startswith("When"):
                named = question.text.removeprefix("When did ").removesuffix(" write it?")
                assert bool(question.answers) == (named in altered.text)
                refused += not question.answers
    assert "In 1911" in " ".join(texts)
    assert 5 < refused < 40


def test_a_question_ahead_of_the_text_is_the_only_one(layout: Layout) -> None:
    made = composer(ahead=1.0, again=1.0, turns=1.0)
    for number in range(20):
        conversation = made.conversation(random.Random(number))
        (ask,) = conversation.asks
        laid = piece(conversation, layout, 10_000)
        assert laid is not None
        text = layout.decode([token for token in laid.ids if token != layout.end])
        asked = f"Question: {ask.question.text}"
        assert f"{asked}\n\n---\n\n{conversation.document}\n\n---\n\n{asked}" in text

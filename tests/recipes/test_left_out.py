"""Beacons for what selection leaves out: who sees what, and that only they learn."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from activation_beacon.scorer import Scorer
from recipes.smollm2 import base, sources
from recipes.smollm2.decoder import PARAM, Beacons, Decoder
from recipes.smollm2.learning import Training
from recipes.smollm2.left_out import PLAN, SHARE, Text, losses, read, recall
from recipes.smollm2.lessons import Room, Teacher
from recipes.smollm2.rows import Layout

SINK = 3
CHANCE = random.Random(0)
IDS = [CHANCE.randrange(2, 250) for _ in range(40)]
ASKS = [([CHANCE.randrange(2, 250) for _ in range(4)], [CHANCE.randrange(2, 250) for _ in range(3)]) for _ in range(2)]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(base.tiny_base()[0], torch.float32, "cpu", compiled=False)


def fresh(decoder: Decoder) -> Beacons:
    return Beacons({p: decoder.weights[p] for p in PARAM}, decoder.embedding[1])


def changed(text: Text, where: Tensor) -> Text:
    """The same, but for these rows."""
    return replace(text, keys=text.keys + where[..., None], values=text.values + where[..., None])


@torch.no_grad()
def test_with_all_rows_kept_it_is_full_attention(decoder: Decoder) -> None:
    text, hidden = read(decoder, IDS, SINK, ASKS)
    every = torch.ones(text.keys.shape[:3], dtype=torch.bool)
    recalled, _, _ = recall(decoder, fresh(decoder), text, every, [], ASKS)
    assert torch.allclose(recalled, hidden, atol=1e-5)
    # A question sees the document and itself.
    assert torch.allclose(read(decoder, IDS, SINK, ASKS[1:])[1], hidden[7:], atol=1e-5)


@torch.no_grad()
def test_beacons_see_what_is_left_out_and_questions_what_is_kept(decoder: Decoder) -> None:
    text, _ = read(decoder, IDS, SINK)
    kept = torch.rand(text.keys.shape[:3], generator=torch.Generator().manual_seed(0)) < 0.5
    kept[:, :, :SINK] = False
    after, beacons = [20, 40], fresh(decoder)

    def seen(other: Text, ends: list[int]) -> tuple[Tensor, Tensor]:
        hidden, keys, _ = recall(decoder, beacons, other, kept, ends, ASKS)
        return hidden, keys

    hidden, keys = seen(text, after)
    later = torch.arange(text.tokens) >= 20
    for where, same in ((kept, (0, 1)), (~kept & later, (0,)), (~kept, ())):
        moved = seen(changed(text, where), after)[1]
        for beacon in range(2):
            assert torch.equal(moved[:, :, beacon], keys[:, :, beacon]) == (beacon in same)
    assert not torch.equal(seen(changed(text, kept), after)[0], hidden)
    others = ~kept
    others[:, :, :SINK] = False
    assert torch.equal(seen(changed(text, others), [])[0], seen(text, [])[0])


def test_rows_and_beacons_share_the_room(decoder: Decoder) -> None:
    text, _ = read(decoder, IDS * 10, SINK)
    for ratio, parts in ((8, 0), (8, 2), (16, 4), (32, 6)):
        rows, after = text.share(ratio, parts)
        assert rows + len(after) == (text.tokens - SINK) // ratio
        assert after == sorted(set(after))
        assert not after or (after[0] > SINK and after[-1] == text.tokens)


def test_only_beacons_learn_and_a_stopped_run_goes_on(decoder: Decoder, tmp_path: Path) -> None:
    layout = Layout(base.tiny_base()[1])
    share = replace(SHARE, prose=0.0, cue=(4, 6), span=(4, 8))
    teacher = Teacher(layout, sources.made_up(0), {"squad": 1.0}, [], share, Room(window=256, intervals=1, asked=352))
    shape = decoder.shape
    weight = torch.randn(decoder.layers, 2 * shape.kv_heads * (shape.head_dim + 1) + 1, shape.kv_heads)
    scorer = Scorer(weight, "tiny", "")
    before = {name: each.clone() for name, each in decoder.weights.items()}

    def run(folder: Path, steps: int) -> Beacons:
        folder.mkdir(exist_ok=True)
        beacons = fresh(decoder)
        training = Training("left_out", beacons, replace(PLAN, steps=steps, warmup=1, decay=0.01), folder)
        list(training.run(losses(decoder, beacons, scorer, teacher, training)))
        return beacons

    whole, first = run(tmp_path / "whole", 3), run(tmp_path / "parts", 2)
    assert not torch.equal(whole.embedding, first.embedding)
    again = run(tmp_path / "parts", 3)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(each, before[name]) for name, each in decoder.weights.items())

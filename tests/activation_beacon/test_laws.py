"""What must hold for any model and any weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon, install, installed, remove
from activation_beacon.rotary import Rotary
from tests.activation_beacon.tiny import ARCHITECTURES, CONFIG, random_beacon, random_ids, reader, tiny_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ratio_0_with_copied_beacons_is_full_attention(architecture: str) -> None:
    model, ids = tiny_model(architecture), random_ids(75)
    beacon = Beacon.like(CONFIG, model)
    beacon.copy_base(model, token=1)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1]
        with installed(model, beacon) as rows:
            found = reader(model, beacon, rows, ratio=0).read(ids)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_remove_restores_the_model_exactly(architecture: str) -> None:
    model, ids = tiny_model(architecture), torch.tensor([random_ids(20)])
    names, modules = list(model.state_dict()), dict(model.named_modules())
    with torch.inference_mode():
        before = model(ids).logits
    install(model, random_beacon(model))
    assert list(model.state_dict()) != names
    remove(model)
    assert list(model.state_dict()) == names
    assert dict(model.named_modules()) == modules
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, before)


def test_ordinary_rows_are_the_base_models_while_a_beacon_is_installed() -> None:
    model, ids = tiny_model(), torch.tensor([random_ids(20)])
    with torch.inference_mode():
        before = model(ids).logits
        with installed(model, random_beacon(model)):
            assert torch.equal(model(ids).logits, before)


SCHEMES = [
    CONFIG,
    BeaconConfig(window=16, stride=16, ratios=(4,), sink_size=2),
    BeaconConfig(window=16, stride=16, ratios=(4,), attn="step-expansion", attend_prev=False),
    BeaconConfig(window=16, stride=16, ratios=(4,), pos="append", attn="full-coverage"),
    BeaconConfig(window=16, stride=8, ratios=(4,), pos="append", attn="step-expansion"),
    BeaconConfig(window=16, stride=16, ratios=(4,), pos="append", attn="segmentation"),
]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from(SCHEMES))
def test_a_text_in_any_pieces_gives_the_same_memory(pieces: list[int], config: BeaconConfig) -> None:
    model, ids = tiny_model(), random_ids(sum(pieces))
    beacon = random_beacon(model, config)
    with installed(model, beacon) as rows:
        whole = reader(model, beacon, rows, ratio=4)
        expected = whole.read(ids)
        pieced = reader(model, beacon, rows, ratio=4)
        start = 0
        for length in pieces:
            found = pieced.read(ids[start : start + length])
            start += length
        assert pieced.memory.positions == whole.memory.positions
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        one, other = (r.memory.activations(0, r.memory.size) for r in (whole, pieced))
        torch.testing.assert_close(one.keys, other.keys, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sink_size", [0, 3])
def test_a_restored_memory_goes_on_bit_for_bit(sink_size: int) -> None:
    model, ids = tiny_model("qwen3"), random_ids(100)
    config = BeaconConfig(window=16, stride=16, ratios=(4,), sink_size=sink_size)
    beacon = random_beacon(model, config)
    with installed(model, beacon) as rows:
        through = reader(model, beacon, rows, ratio=4)
        steps = [step for start in range(0, 96, 16) for step in through.feed(ids[start : start + 16])]
        resumed = reader(model, beacon, rows, ratio=4)
        for step in steps[:3]:
            assert step.condensed is not None
            resumed.load(step.condensed)
        resumed.planner.restore(tokens=48, sink=sink_size, beacons=resumed.memory.size - sink_size, intervals=3)
        later = [step for start in range(48, 96, 16) for step in resumed.feed(ids[start : start + 16])]
        for step, again in zip(steps[3:], later, strict=True):
            assert step.condensed is not None
            assert again.condensed is not None
            assert torch.equal(step.condensed.keys, again.condensed.keys)
            assert torch.equal(step.condensed.values, again.condensed.values)
        assert torch.equal(through.read(ids[96:]), resumed.read(ids[96:]))


def test_positions_moved_500_times_stay_exact() -> None:
    rotary = Rotary(1.0 / (10_000.0 ** (torch.arange(0, 64, 2) / 64)))
    keys = torch.randn(3, 10, 64, generator=torch.Generator().manual_seed(0))
    moved = rotary.rotate(keys, torch.arange(10))
    for turn in range(500):
        here, there = torch.arange(10) + 13 * turn, torch.arange(10) + 13 * (turn + 1)
        moved = rotary.rotate(rotary.unrotate(moved, here), there)
    torch.testing.assert_close(moved, rotary.rotate(keys, torch.arange(10) + 6500), atol=2e-4, rtol=0)

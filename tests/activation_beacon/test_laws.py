"""What must hold for any model and any weights."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from activation_beacon import Activations, Beacon, BeaconConfig, attach
from activation_beacon.rotary import Rotary
from tests.activation_beacon.tiny import ARCHITECTURES, CONFIG, SCHEMES, random_beacon, random_ids, tiny_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ratio_0_with_copied_beacons_is_full_attention(architecture: str) -> None:
    model, ids = tiny_model(architecture), random_ids(75)
    beacon = Beacon.like(CONFIG, model)
    beacon.copy_base(model, token=1)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1]
        with attach(model, beacon) as attached:
            found = attached.reader(0).read(ids)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_detaching_restores_the_model_exactly(architecture: str) -> None:
    model, ids = tiny_model(architecture), torch.tensor([random_ids(20)])
    names, modules = list(model.state_dict()), dict(model.named_modules())
    with torch.inference_mode():
        before = model(ids).logits
    attached = attach(model, random_beacon(model))
    assert list(model.state_dict()) != names
    attached.detach()
    attached.detach()  # once is enough
    assert list(model.state_dict()) == names
    assert dict(model.named_modules()) == modules
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, before)


def test_ordinary_rows_are_the_base_models_while_a_beacon_is_attached() -> None:
    model, ids = tiny_model(), torch.tensor([random_ids(20)])
    with torch.inference_mode():
        before = model(ids).logits
        with attach(model, random_beacon(model)):
            assert torch.equal(model(ids).logits, before)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from(SCHEMES))
def test_a_text_in_any_pieces_gives_the_same_memory(pieces: list[int], config: BeaconConfig) -> None:
    model, ids = tiny_model(), random_ids(sum(pieces))
    beacon = random_beacon(model, config)
    with attach(model, beacon) as attached:
        whole = attached.reader(4)
        expected = whole.read(ids)
        pieced = attached.reader(4)
        start = 0
        for length in pieces:
            found = pieced.read(ids[start : start + length])
            start += length
        assert pieced.memory.positions == whole.memory.positions
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        one, other = (r.memory.activations(0, r.memory.size) for r in (whole, pieced))
        torch.testing.assert_close(one.keys, other.keys, atol=1e-4, rtol=1e-4)


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}


@pytest.mark.parametrize(
    ("sink_size", "ratio", "settings"),
    [(0, 4, {}), (3, 4, {}), (3, 4, {"max_position_embeddings": 20, "rope_parameters": DYNAMIC}),
     (3, 0, {"max_position_embeddings": 20, "rope_parameters": DYNAMIC})],
)  # fmt: skip
def test_a_restored_memory_goes_on_bit_for_bit(sink_size: int, ratio: int, settings: dict[str, Any]) -> None:
    model, ids = tiny_model("qwen3", **settings), random_ids(100)
    config = BeaconConfig(window=16, stride=16, ratios=(0, 4), sink_size=sink_size)
    beacon = random_beacon(model, config)
    with attach(model, beacon) as attached:
        through = attached.reader(ratio)
        steps = [step for start in range(0, 96, 16) for step in through.feed(ids[start : start + 16])]
        expected = through.read(ids[96:])
        stored = through.memory.activations(0, through.planner.memory)
        resumed = attached.reader(ratio)
        for step in steps[:3]:
            assert step.condensed is not None
            resumed.load(step.condensed)
        beacons = resumed.memory.size - sink_size
        resumed.restore(tokens=48, sink=sink_size, beacons=beacons, intervals=3, ratio=ratio)
        later = [step for start in range(48, 96, 16) for step in resumed.feed(ids[start : start + 16])]
        for step, again in zip(steps[3:], later, strict=True):
            assert step.condensed is not None
            assert again.condensed is not None
            assert torch.equal(step.condensed.keys, again.condensed.keys)
            assert torch.equal(step.condensed.values, again.condensed.values)
        assert torch.equal(expected, resumed.read(ids[96:]))
        again = attached.reader(ratio)
        again.load(stored)
        beacons = again.memory.size - sink_size
        again.restore(tokens=96, sink=sink_size, beacons=beacons, intervals=6, ratio=ratio)
        torch.testing.assert_close(again.read(ids[96:]), expected, atol=1e-4, rtol=1e-4)


class Shifted(Rotary):
    """Every position is `offset` further than it says."""

    def __init__(self, rotary: Rotary, offset: int) -> None:
        super().__init__(rotary.inv_freq, rotary.scaling)
        self.offset = offset

    def angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().angles(positions + self.offset)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stored_memory_placed_elsewhere_answers_as_if_built_there(architecture: str, tmp_path: Path) -> None:
    model, ids = tiny_model(architecture), random_ids(100)
    beacon = random_beacon(model)
    with attach(model, beacon) as attached:
        here = attached.reader(4)
        here.read(ids[:96])
        stored = here.memory.activations(0, here.memory.size)
        save_file({"keys": stored.keys.contiguous(), "values": stored.values.contiguous()}, tmp_path / "memory")

        model.model.rotary_emb = Shifted(attached.rotary, 333)
        built = attached.reader(4)
        expected = built.read(ids)
        placed = attached.reader(4)
        placed.load(Activations(**load_file(tmp_path / "memory")))
        placed.restore(tokens=96, sink=0, beacons=placed.memory.size, intervals=6, ratio=4)
        found = placed.read(ids[96:])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_the_error_of_positions_moved_500_times_is_bounded() -> None:
    """In float32. In bfloat16 every move rounds, and 500 add up to a third of a key's size: see the next law."""
    rotary = Rotary(1.0 / (10_000.0 ** (torch.arange(0, 64, 2) / 64)))
    keys = torch.randn(3, 10, 64, generator=torch.Generator().manual_seed(0))
    moved = rotary.rotate(keys, torch.arange(10))
    for turn in range(500):
        here, there = torch.arange(10) + 13 * turn, torch.arange(10) + 13 * (turn + 1)
        moved = rotary.rotate(rotary.unrotate(moved, here), there)
    torch.testing.assert_close(moved, rotary.rotate(keys, torch.arange(10) + 6500), atol=2e-4, rtol=0)


@pytest.mark.parametrize("rope", ["default", "dynamic"])
def test_the_error_of_bfloat16_does_not_grow_over_500_intervals(rope: str) -> None:
    """A memory's keys go to their place once; where frequencies grow with the text, always from the unmoved keys."""
    ids = random_ids(16 * 500)
    scaling = {"rope_type": rope, "rope_theta": 10_000.0, "factor": 4.0}
    condensed, placed = [], []
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_model("llama", initializer_range=0.05, max_position_embeddings=64, rope_parameters=scaling)
        beacon = random_beacon(model, std=0.05).to(dtype)
        with attach(model, beacon) as attached:
            model.to(dtype)
            one = attached.reader(8)
            one.read(ids)
            assert one.memory.size == 1000
            condensed.append(one.memory.activations(0, 1000))
            placed.append(torch.stack([layer.keys[0, :, :1000] for layer in one.memory.layers]))
    exact, rounded = condensed
    for whole, other in ((exact.keys, rounded.keys), (exact.values, rounded.values), placed):
        error = (other.float() - whole).norm(dim=-1) / whole.norm(dim=-1)  # (layers, kv_heads, rows)
        assert error[..., -100:].mean() < 1.5 * error[..., :100].mean()
        assert error.mean() < 0.01  # measured 0.004 to 0.006; one rounding to bfloat16 is up to 0.004


def test_a_text_reads_the_same_after_a_longer_one() -> None:
    model = tiny_model("llama", max_position_embeddings=64, rope_parameters=DYNAMIC)
    beacon, ids = random_beacon(model), random_ids(400)
    with attach(model, beacon) as attached:
        first = attached.reader(4).read(ids[:100])
        attached.reader(4).read(ids)
        assert torch.equal(first, attached.reader(4).read(ids[:100]))


def test_a_memory_is_freed_when_it_is_let_go() -> None:
    model = tiny_model()
    beacon = random_beacon(model)
    gc.collect()
    gc.disable()
    try:
        with attach(model, beacon) as attached:
            one = attached.reader(4)
            one.read(random_ids(40))
            keys = weakref.ref(one.memory.layers[0].keys)
            del one
        assert keys() is None
    finally:
        gc.enable()

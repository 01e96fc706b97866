"""Ending an interval before it is full: what several texts in one memory rest on."""

import pytest
import torch

from activation_beacon import Beacon, BeaconConfig, Planner, attach
from activation_beacon.ratios import Fixed
from tests.activation_beacon.tiny import CONFIG, random_beacon, random_ids, tiny_model

INTERLEAVED = [
    CONFIG,
    BeaconConfig(window=16, stride=16, ratios=(4,), sink_size=2),
    BeaconConfig(window=16, stride=16, ratios=(4,), attn="step-expansion", attend_prev=False),
]
APPENDED = BeaconConfig(window=16, stride=16, ratios=(4,), pos="append", attn="step-expansion")


@pytest.mark.parametrize("config", INTERLEAVED)
@pytest.mark.parametrize("tokens", [11, 43])
def test_the_beacons_so_far_stay_and_the_tokens_after_them(config: BeaconConfig, tokens: int) -> None:
    model, ids = tiny_model(), random_ids(48)
    beacon = random_beacon(model, config)
    with attach(model, beacon) as attached:
        whole, ended = (attached.reader(4) for _ in range(2))
        whole.read(ids)
        ended.read(ids[:tokens])
        ended.end_interval()
    assert ended.planner.at_boundary
    assert ended.planner.consumed == tokens
    assert ended.memory.size == ended.planner.memory == config.sink_size + tokens // 4 + tokens % 4
    assert ended.memory.positions == list(range(ended.memory.size))
    common = config.sink_size + tokens // 4
    one, other = (each.memory.activations(0, common) for each in (whole, ended))
    torch.testing.assert_close(one.keys, other.keys, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.values, other.values, atol=1e-4, rtol=1e-4)


def test_where_beacons_come_last_the_tokens_stay_as_they_are() -> None:
    model = tiny_model()
    beacon = random_beacon(model, APPENDED)
    with attach(model, beacon) as attached:
        ended = attached.reader(4)
        ended.read(random_ids(27))
        ended.end_interval()
    assert ended.memory.size == ended.planner.memory == 4 + 11


def test_uncondensed_it_makes_no_difference() -> None:
    model, ids = tiny_model(), random_ids(75)
    beacon = Beacon.like(CONFIG, model)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1]
    with attach(model, beacon) as attached:
        ended = attached.reader(0)
        for start, end in ((0, 5), (5, 40), (40, 41)):
            ended.read(ids[start:end])
            ended.end_interval()
        torch.testing.assert_close(ended.read(ids[41:]), expected, atol=2e-5, rtol=1e-5)


def test_between_intervals_there_is_nothing_to_end() -> None:
    model = tiny_model()
    beacon = random_beacon(model)
    with attach(model, beacon) as attached:
        through, ended = (attached.reader(4) for _ in range(2))
        ended.end_interval()
        for each in (through, ended):
            each.read(random_ids(32))
        ended.end_interval()
        assert torch.equal(through.read([1, 2, 3]), ended.read([1, 2, 3]))


def test_memories_placed_one_after_the_other_add_up() -> None:
    planner = Planner(CONFIG, Fixed(4))
    planner.restore(tokens=48, sink=2, beacons=12, intervals=3)
    planner.restore(tokens=32, sink=0, beacons=8, intervals=2)
    assert (planner.consumed, planner.sink, planner.memory, planner.at_boundary) == (80, 2, 22, True)

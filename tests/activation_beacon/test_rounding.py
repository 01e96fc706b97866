"""A memory that is stored rounded goes on with the rounded numbers, so that loading it changes nothing."""

import pytest
import torch
from torch import Tensor

from activation_beacon import Activations, BeaconConfig, attach
from tests.activation_beacon.tiny import random_beacon, random_ids, tiny_model


def coarse(rows: Tensor) -> Tensor:
    return (rows * 8).round() / 8


@pytest.mark.parametrize("sink", [0, 2])
def test_a_rounded_memory_goes_on_as_one_that_was_loaded(sink: int) -> None:
    config = BeaconConfig(window=16, stride=16, ratios=(4,), sink_size=sink)
    model, ids = tiny_model(), random_ids(64)
    beacon = random_beacon(model, config)
    with attach(model, beacon) as attached:
        whole, loaded, exact = (attached.reader(4) for _ in range(3))
        whole.memory.rounding = loaded.memory.rounding = coarse
        condensed = [step.condensed for step in whole.feed(ids[:48])]
        for activations in condensed:
            assert activations is not None
            assert not torch.equal(activations.values, coarse(activations.values))
            first = sink if not loaded.memory.size else 0
            keys, values = (
                torch.cat((each[:, :, :first], coarse(each[:, :, first:])), 2)
                for each in (activations.keys, activations.values)
            )
            loaded.load(Activations(keys, values))
        loaded.planner.restore(tokens=48, sink=sink, beacons=loaded.memory.size - sink, intervals=3)
        assert torch.equal(loaded.read(ids[48:]), whole.read(ids[48:]))
        assert not torch.equal(exact.read(ids), whole.logits())

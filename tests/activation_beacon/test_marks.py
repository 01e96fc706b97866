"""A memory is not used up by what is read after it: rewound, it goes on as if nothing had been read."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from activation_beacon import BeaconConfig, Planner, Reader, attach
from activation_beacon.ratios import Adapt, Cycle, OncePerSequence
from tests.activation_beacon.tiny import random_beacon, random_ids, tiny_model

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
ROPES: dict[str, dict[str, Any]] = {
    "fixed": {},
    "growing": {"max_position_embeddings": 20, "rope_parameters": DYNAMIC},
}
SCHEMES = {
    "plain": BeaconConfig(window=16, stride=16, ratios=(0, 4)),
    "sink": BeaconConfig(window=16, stride=16, ratios=(0, 4), sink_size=3),
    "stride": BeaconConfig(window=16, stride=8, ratios=(0, 4), pos="append", attn="step-expansion"),
}


def read_uncondensed(reader: Reader, tokens: int) -> None:
    reader.condense_at(0)
    reader.read(random_ids(tokens))


def end_an_interval(reader: Reader) -> None:
    reader.read(random_ids(5))
    reader.end_interval()
    reader.read([1])


BETWEEN: list[Callable[[Reader], object]] = [
    lambda reader: reader.read([5]),
    lambda reader: reader.read(random_ids(100, 8)),  # several intervals
    lambda reader: [reader.read([token]) for token in random_ids(20, 9)],
    end_an_interval,
    lambda reader: read_uncondensed(reader, 40),
    lambda reader: read_uncondensed(reader, 300),  # more than the buffers hold
]


@pytest.mark.parametrize("tokens", [0, 7, 48, 59])  # before anything, and before, at and after the end of an interval
@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_rewound_reader_goes_on_to_the_bit(scheme: str, rope: str, tokens: int) -> None:
    model, config = tiny_model("qwen3", **ROPES[rope]), SCHEMES[scheme]
    ids = random_ids(90)
    with attach(model, random_beacon(model, config)) as attached:
        expected, reader = attached.reader(4), attached.reader(4)
        if tokens:
            expected.read(ids[:tokens])
            reader.read(ids[:tokens])
        mark = reader.mark()
        for between in BETWEEN:
            between(reader)
            attached.reader(4).read(random_ids(50, 3))  # and somebody else reads
            reader.rewind(mark)
            assert reader.memory.positions == expected.memory.positions
        if tokens:
            assert torch.equal(reader.logits(), expected.logits())
        # A single token first: where frequencies do not grow with it, no key is moved.
        for piece in (ids[tokens : tokens + 1], ids[tokens + 1 : 70], ids[70:]):
            assert torch.equal(reader.read(piece), expected.read(piece))
        found, wanted = (each.memory.activations(0, each.memory.size) for each in (reader, expected))
        assert torch.equal(found.keys, wanted.keys)
        assert torch.equal(found.values, wanted.values)


def test_a_restored_memory_can_be_marked() -> None:
    model, ids = tiny_model(**ROPES["growing"]), random_ids(96)
    with attach(model, random_beacon(model)) as attached:
        built = attached.reader(4)
        condensed = [step.condensed for step in built.feed(ids) if step.condensed is not None]
        reader = attached.reader(4)
        for part in condensed:
            reader.load(part)
        reader.restore(tokens=96, sink=0, beacons=reader.memory.size, intervals=6, ratio=4)
        mark = reader.mark()
        first = reader.read(random_ids(50, 1))
        reader.rewind(mark)
        assert torch.equal(reader.read(random_ids(50, 1)), first)


def test_a_mark_copies_no_memory() -> None:
    model = tiny_model()
    with attach(model, random_beacon(model)) as attached:
        reader = attached.reader(4)
        reader.read(random_ids(16 * 20))
        assert reader.mark().memory.rows == []
        reader.read(random_ids(5))
        assert [keys.shape[2] for keys, _ in reader.mark().memory.rows] == [6, 6]  # five tokens and their beacon


@pytest.mark.parametrize("kind", ["sequence", "adapt"])
def test_ratios_are_drawn_again_as_before(kind: str) -> None:
    config = BeaconConfig(window=16, stride=16, ratios=(2, 4, 8))
    chooser = Cycle((2, 4, 8)) if kind == "sequence" else OncePerSequence(Adapt(config, 10, 64))
    model = tiny_model()
    with attach(model, random_beacon(model, config)) as attached:
        reader = attached.reader(Planner(config, chooser))
        mark = reader.mark()
        drawn = []
        for length in (160, 40, 160):
            drawn.append([step.plan.ratio for step in reader.feed(random_ids(length))])
            reader.rewind(mark)
    assert drawn[0] == drawn[2]
    assert kind == "sequence" or drawn[1][0] != drawn[0][0]


class Largest(TorchDispatchMode):
    """The most elements of a tensor of integers that was made, which is what positions are."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.int64:
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("rope", ROPES)
def test_a_token_costs_no_tensor_of_all_positions(rope: str) -> None:
    """Where no frequency grows with it: a sequence that was longer once, as where an interval was just condensed."""
    model = tiny_model(**ROPES[rope])
    with attach(model, random_beacon(model)) as attached:
        reader = attached.reader(0)
        reader.read(random_ids(16 * 20))
        reader.condense_at(4)
        with torch.inference_mode():
            reader.memory.extend_positions(400)
        with Largest() as made:
            for token in range(20):
                reader.read([token])
        assert reader.memory.size > 300
        assert 0 < made.elements < 40

"""What was read last can be forgotten: the reader goes on as if it had not been read."""

import pytest
import torch

from activation_beacon import BeaconConfig, Selection, SequenceReader, attach
from activation_beacon.attached import Attached
from tests.activation_beacon.tiny import random_beacon, random_ids, tiny_model

WINDOW, RATIO = 16, 4
# In the order of the text and after it; with tokens of an interval that is also in the next.
SCHEMES = {
    "interleave": BeaconConfig(window=WINDOW, stride=WINDOW, ratios=(0, RATIO)),
    "append": BeaconConfig(window=WINDOW, stride=8, ratios=(0, RATIO), pos="append", attn="step-expansion"),
    "select": None,
}


def reader_of(attached: Attached, scheme: str) -> SequenceReader:
    if SCHEMES[scheme] is None:
        return attached.selecting_reader(RATIO, Selection(window=WINDOW, sink=3, instruction=(5, 6, 7)))
    return attached.reader(RATIO)


@pytest.mark.parametrize(("before", "forgotten"), [(5, 6), (0, 7), (32, 7), (35, 4), (41, 0)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_was_forgotten_was_not_read(scheme: str, before: int, forgotten: int) -> None:
    model, ids, config = tiny_model("qwen3"), random_ids(90), SCHEMES[scheme]
    with attach(model, None if config is None else random_beacon(model, config)) as attached:
        expected, reader = reader_of(attached, scheme), reader_of(attached, scheme)
        if before:
            expected.read(ids[:before])
        reader.read([*ids[:before], *random_ids(forgotten, 7)])
        reader.forget(forgotten)
        assert (reader.consumed, reader.memory.size) == (before, expected.memory.size)
        with pytest.raises(ValueError, match="nothing has been read yet"):
            reader.logits()
        for piece in (ids[before : before + 1], ids[before + 1 : 70], ids[70:]):
            torch.testing.assert_close(reader.read(piece), expected.read(piece), rtol=1e-4, atol=1e-5)
        assert torch.equal(reader.memory.counts, expected.memory.counts)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_memory_cannot_be_forgotten(scheme: str) -> None:
    model, config = tiny_model("qwen3"), SCHEMES[scheme]
    with attach(model, None if config is None else random_beacon(model, config)) as attached:
        reader = reader_of(attached, scheme)
        reader.read(random_ids(37))
        size = reader.memory.size
        with pytest.raises(ValueError, match="6 tokens cannot be forgotten: the interval in progress has"):
            reader.forget(6)
        assert (reader.consumed, reader.memory.size) == (37, size)

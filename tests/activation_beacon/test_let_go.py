"""What of a long memory is not here: a reader goes on as if it were, recalls what is here, and says what is not."""

import pytest
import torch

from activation_beacon import SelectingReader, attach
from tests.activation_beacon.test_selection import SELECTION, assert_same, heads, parts_of
from tests.activation_beacon.tiny import random_ids, tiny_model

POSITIONS, RATIO = 80, 4
IDS = random_ids(16 * 30)


def readers(count: int) -> list[SelectingReader]:
    attached = attach(tiny_model(max_position_embeddings=POSITIONS), None)
    return [attached.selecting_reader(RATIO, SELECTION) for _ in range(count)]


def test_a_reader_that_lets_go_reads_on_as_one_that_does_not() -> None:
    whole, partial = readers(2)
    held = []
    for first in range(0, len(IDS), 16):
        expected, found = (parts_of(reader, IDS[first : first + 16]) for reader in (whole, partial))
        for one, other in zip(expected, found, strict=True):
            for mine, theirs in zip(one.heads(), other.heads(), strict=True):
                assert all(map(torch.equal, mine, theirs))
        partial.let_go()
        held.append(int(partial.memory.counts.sum()) / partial.memory.counts.numel())
    # Never more than what an interval is read after, what was let grow before it was let go of, and a sink.
    assert max(held) <= 3 + (2 * POSITIONS + 16) / RATIO
    assert whole.memory.intact
    assert not partial.memory.intact
    assert (partial.memory.places, partial.memory.size) == (whole.memory.places, whole.memory.size)


def test_what_is_here_is_recalled_as_from_the_whole_and_what_is_not_is_refused() -> None:
    whole, partial, *recalling = readers(4)
    whole.remember(IDS)
    partial.remember(IDS)
    partial.let_go()
    near = [range(len(IDS) - 40, len(IDS) - 20), range(len(IDS) - 16, len(IDS))]
    for reader, other in zip(recalling, (whole, partial), strict=True):
        reader.recall(other, near)
    assert_same(*recalling)
    with pytest.raises(ValueError, match="let go"):
        recalling[0].recall(partial, [range(100, 120)])
    partial.condense_at(0)
    with pytest.raises(ValueError, match="let go"):
        partial.read([5])


def test_a_memory_of_which_intervals_were_skipped_is_recalled_from_as_from_the_whole() -> None:
    whole, partial, *recalling = readers(4)
    number = 0
    for first in range(0, len(IDS), 16):
        for each in parts_of(whole, IDS[first : first + 16]):
            if number % 3 == 0:  # the sink among them
                partial.load(each)
            else:
                partial.skip(each.size, each.span)
            number += 1
    partial.restore(tokens=len(IDS), sink=3, beacons=0, intervals=30, ratio=RATIO)
    parts = [range(32 + 4, 48), range(48 * 5 + 32, 48 * 5 + 40)]  # in the third and the eighteenth interval
    for reader, other in zip(recalling, (whole, partial), strict=True):
        reader.recall(other, parts)
    assert_same(*recalling)
    assert partial.consumed == whole.consumed
    assert partial.memory.size == whole.memory.size


def test_rows_come_and_go_at_their_end_as_if_others_were_not_missing() -> None:
    whole, partial = readers(2)
    for reader in (whole, partial):
        reader.remember(IDS)
    partial.let_go()
    sizes = [reader.memory.size for reader in (whole, partial)]
    for reader, size in zip((whole, partial), sizes, strict=True):
        reader.remember(random_ids(32, 9))
        reader.memory.truncate(size)
        reader.remember(random_ids(32, 8))
    for mine, theirs in zip(heads(whole), heads(partial), strict=True):
        rows = theirs.count - 3
        assert torch.equal(mine.free[-rows:], theirs.free[-rows:])
        assert torch.equal(mine.places[-rows:], theirs.places[-rows:])
        assert torch.equal(mine.values[mine.count - rows : mine.count], theirs.values[3 : theirs.count])

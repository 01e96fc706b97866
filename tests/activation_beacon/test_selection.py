"""Selection: what must hold for any model and any weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_beacon import Activations, SelectingReader, Selection, attach
from activation_beacon.errors import ConfigError
from activation_beacon.ragged import RaggedMemory
from activation_beacon.ragged_layer import Head
from activation_beacon.rotary import Rotary
from activation_beacon.selected import Selected
from activation_beacon.selection import best
from tests.activation_beacon.tiny import ARCHITECTURES, full_attention, random_beacon, random_ids, tiny_model

SELECTION = Selection(window=16, sink=3, instruction=(5, 6, 7))
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
# Positions that last for 90 tokens, and that do not: then places are shrunk.
POSITIONS: dict[str, dict[str, Any]] = {
    "enough": {},
    "too few": {"max_position_embeddings": 60},
    "growing": {"max_position_embeddings": 60, "rope_parameters": DYNAMIC},
}


def heads(reader: SelectingReader) -> list[Head]:
    return list(reader.memory._heads())


def parts_of(reader: SelectingReader, ids: Sequence[int]) -> list[Activations]:
    """What the tokens become: the sink, then each interval."""
    found = []
    for step in reader.feed(ids):
        found += [each for each in (step.sink, step.interval) if each is not None]
    return found


def assert_same(one: SelectingReader, other: SelectingReader) -> None:
    """The same memory, to the bit."""
    assert torch.equal(one.memory.counts, other.memory.counts)
    for mine, yours in zip(one.memory._heads(), other.memory._heads(), strict=True):
        assert torch.equal(mine.free, yours.free)
        assert torch.equal(mine.places, yours.places)
        assert torch.equal(mine.values[: mine.count], yours.values[: yours.count])


@pytest.mark.parametrize("ratio", [0, 1])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ratio_1_is_full_attention(architecture: str, ratio: int) -> None:
    model, ids = tiny_model(architecture), random_ids(75)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1]
        with attach(model, None) as attached:
            reader = attached.selecting_reader(ratio, SELECTION)
            found = reader.read(ids)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert reader.memory.counts.unique().tolist() == [75]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_at_ratio_1_a_memory_holds_what_was_read_to_the_bit(architecture: str, dtype: torch.dtype) -> None:
    with torch.inference_mode(), attach(tiny_model(architecture).to(dtype), None) as attached:
        reader = attached.selecting_reader(1, SELECTION)
        reader.read(random_ids(16, 1))
        reader.selection = replace(SELECTION, window=40)  # so that the next interval is still in progress when it ends
        reader.read(random_ids(16, 2))
        rows = [[part[: head.count + 16].clone() for part in (head.keys, head.values)] for head in heads(reader)]
        reader.end_interval()
        reader.memory.stand(32)
        for head, read in zip(heads(reader), rows, strict=True):
            assert head.count == 32
            assert torch.equal(head.keys[:32], read[0])
            assert torch.equal(head.values[:32], read[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ratio_1_is_full_attention_in_the_same_passes(architecture: str) -> None:
    """To the bit in our decoder (`tests/checkpoints/test_lean.py`); transformers' own kernel rounds otherwise."""
    ids = random_ids(75)
    with attach(tiny_model(architecture), None) as attached:
        steps = list(attached.selecting_reader(1, SELECTION).feed(ids))
        expected = full_attention(attached, [ids[first : first + 16] for first in range(0, 75, 16)])
    torch.testing.assert_close(torch.cat([step.hidden for step in steps]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ratio", [2, 3, 8])
def test_an_interval_keeps_its_budget_and_each_head_what_it_draws_on(ratio: int) -> None:
    model = tiny_model()
    with attach(model, None) as attached:
        reader = attached.selecting_reader(ratio, SELECTION)
        sink, *intervals = parts_of(reader, random_ids(50, 1))
    assert sink.size == 3
    assert [each.size for each in intervals] == [13 // ratio, 16 // ratio, 16 // ratio]
    assert reader.memory.size == 3 + sum(each.size for each in intervals) + 2
    assert len(reader.memory.counts.unique()) > 1
    for each in intervals:
        assert int(each.counts.sum()) == each.size * 4
        for _, _, places in each.heads():
            assert places.tolist() == sorted(set(places.tolist()))
            assert all(0 <= place < each.span for place in places.tolist())


def reference_scores(model: Any, before: list[int], interval: list[int]) -> torch.Tensor:
    """Of a text without memory before it: straight from the eager attention's probabilities."""
    eager = tiny_model()
    eager.load_state_dict(model.state_dict())
    eager.set_attn_implementation("eager")
    ids = [*before, *interval, *SELECTION.instruction, *before, *interval]
    length = len(before) + len(interval)
    with torch.inference_mode():
        out = eager(torch.tensor([ids]), output_attentions=True, use_cache=True)
    scores = []
    for layer, attention in enumerate(out.attentions):
        asked = attention[0, :, length:, len(before) : length]  # (heads, queries, rows)
        asked = asked.unflatten(0, (2, 2))
        most = asked.amax((1, 2)) + asked.sum(2).mean(1)
        values = out.past_key_values.layers[layer].values[0, :, len(before) : length]
        scores.append(most * values.norm(dim=-1))
    return torch.stack(scores)


def test_rows_stay_by_the_probability_that_saying_it_again_gives_them() -> None:
    model, ids = tiny_model(), random_ids(16)
    scores = reference_scores(model, ids[:3], ids[3:])
    with attach(model, None) as attached:
        _, interval = parts_of(attached.selecting_reader(4, SELECTION), ids)
    chosen = best(scores, 3)
    assert torch.equal(interval.counts, chosen.sum(-1).int())
    assert isinstance(interval, Selected)
    assert interval.places.flatten().tolist() == chosen.nonzero()[:, 2].tolist()


def test_of_equal_scores_the_first_stay() -> None:
    scores = torch.tensor([[[1.0, 2.0, 1.0], [2.0, 1.0, 1.0]]])
    assert best(scores, 2).tolist() == [[[True, True, True], [True, False, False]]]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from([1, 4]), st.sampled_from([*POSITIONS]))
def test_a_text_in_any_pieces_gives_the_same_memory(pieces: list[int], ratio: int, positions: str) -> None:
    ids = random_ids(sum(pieces))
    with attach(tiny_model(**POSITIONS[positions]), None) as attached:
        whole, pieced = (attached.selecting_reader(ratio, SELECTION) for _ in range(2))
        expected, start = whole.read(ids), 0
        for length in pieces:
            found = pieced.read(ids[start : start + length])
            start += length
    assert_same(whole, pieced)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("ratio", [1, 4])
def test_a_restored_memory_goes_on_bit_for_bit(ratio: int, positions: str) -> None:
    ids = random_ids(100)
    with attach(tiny_model("qwen3", **POSITIONS[positions]), None) as attached:
        through = attached.selecting_reader(ratio, SELECTION)
        parts = parts_of(through, ids)
        resumed = attached.selecting_reader(ratio, SELECTION)
        for part in parts[:4]:
            resumed.load(part)
        beacons = resumed.memory.size - 3
        resumed.restore(tokens=48, sink=3, beacons=beacons, intervals=3, ratio=ratio)
        again = parts_of(resumed, ids[48:])
        for part, other in zip(parts[4:], again, strict=True):
            assert torch.equal(part.keys, other.keys)
            assert torch.equal(part.values, other.values)
        assert_same(resumed, through)
        assert torch.equal(resumed.logits(), through.logits())


def test_a_question_is_read_after_places_that_shrink_by_no_more_than_is_needed() -> None:
    ids, scales = random_ids(98), []
    with attach(tiny_model(**POSITIONS["too few"]), None) as attached:
        reader = attached.selecting_reader(4, SELECTION)
        for start in range(0, 96, 16):
            reader.condense_at(4)
            reader.read(ids[start : start + 16])
            assert reader.memory.scale == 1
            mark = reader.mark()
            reader.condense_at(0)
            reader.read(ids[96:])
            scales.append(reader.memory.scale)
            reader.rewind(mark)
    # Of the 60 positions, 16 are for the interval in progress.
    assert [round(scale, 6) for scale in scales] == [round(min(1.0, 44 / end), 6) for end in range(16, 97, 16)]


def test_far_into_a_text_an_interval_is_read_after_what_stands_near() -> None:
    """With other words further back, but for the sink, it leaves the same rows if these are the same."""
    ids = random_ids(96)
    with attach(tiny_model(**POSITIONS["too few"]), None) as attached:
        whole, near = (attached.selecting_reader(4, SELECTION) for _ in range(2))
        whole.read(ids[:80])
        # Asked to say it again, the model needs 16 + 3 + 16 of its 60 positions for an interval.
        near.recall(whole, [range(80 - (60 - 35 - whole.sink), 80)])
        for one, other in zip(parts_of(whole, ids[80:]), parts_of(near, ids[80:]), strict=True):
            assert torch.equal(one.keys, other.keys)
            assert torch.equal(one.values, other.values)
        assert torch.equal(whole.logits(), near.logits())


def test_a_memory_placed_elsewhere_answers_as_if_built_there() -> None:
    """Rotary attention knows distances only: built at other positions, the same rows stay."""
    model, ids = tiny_model(), random_ids(100)
    with attach(model, None) as attached:
        here = attached.selecting_reader(4, SELECTION)
        here.read(ids[:96])
        expected = attached.selecting_reader(4, SELECTION)
        expected.read(ids)
        there = attached.selecting_reader(4, SELECTION)
        there.condense_at(0)
        there.read(ids[:3])
        there.end_interval()
        there.condense_at(4)
        there.place(here, 4)
        assert there.consumed == 3 + 96
        found = there.read(ids[96:])
    torch.testing.assert_close(found, expected.logits(), atol=1e-4, rtol=1e-4)
    assert torch.equal(there.memory.counts, expected.memory.counts)


@pytest.mark.parametrize("positions", POSITIONS)
def test_to_recall_everything_is_to_have_the_whole_memory(positions: str) -> None:
    model, ids = tiny_model(**POSITIONS[positions]), random_ids(100)
    with attach(model, None) as attached:
        whole, mine = (attached.selecting_reader(4, SELECTION) for _ in range(2))
        whole.read(ids[:96])
        mine.recall(whole, [range(whole.sink, 20), range(20, 96)])
        assert_same(mine, whole)
        assert (mine.consumed, mine.sink, mine.memory.size) == (96, whole.sink, whole.memory.size)
        assert torch.equal(mine.read(ids[96:]), whole.read(ids[96:]))


@given(st.lists(st.integers(3, 96), min_size=0, max_size=6, unique=True).map(sorted))
@settings(max_examples=20, deadline=None)
def test_what_is_recalled_is_what_stood_there(ends: list[int]) -> None:
    parts = [range(*pair) for pair in zip(ends[::2], ends[1::2], strict=False)]
    with attach(tiny_model(), None) as attached:
        whole, mine = (attached.selecting_reader(4, SELECTION) for _ in range(2))
        whole.read(random_ids(96))
        before = [(head.free.clone(), head.places.clone()) for head in heads(whole)]
        mine.recall(whole, parts)
        stood = [*range(SELECTION.sink), *(place for part in parts for place in part)]
        assert mine.memory.places == mine.consumed == len(stood)
        for head, (free, places) in zip(heads(mine), before, strict=True):
            kept = [row for row, place in enumerate(places.tolist()) if place in stood]
            assert torch.equal(head.free, free[kept])
            assert head.places.tolist() == [stood.index(place) for place in places[kept].tolist()]
        mark = mine.mark()
        expected = mine.read([5, 6])
        mine.rewind(mark)
        assert torch.equal(mine.read([5, 6]), expected)
        for head, (free, places) in zip(heads(whole), before, strict=True):
            assert torch.equal(head.free, free)
            assert torch.equal(head.places, places)


def test_places_are_exact_far_into_a_text() -> None:
    rotary = Rotary(1.0 / (10_000.0 ** (torch.arange(0, 8, 2) / 8)))
    memory = RaggedMemory(1, rotary)
    memory.append(Activations(*torch.zeros(2, 1, 1, 40_000, 8)))
    kept, places = torch.tensor([[2]], dtype=torch.int32), torch.tensor([[[3, 15]]], dtype=torch.int16)
    memory.append(Selected(*torch.ones(2, 1, 1, 2, 8), kept, places, 16))
    (head,) = memory._heads()
    assert head.places[-2:].tolist() == [40_003, 40_015]
    assert memory.places == 40_016
    assert memory.stand(10_004) == 10_004
    expected = rotary.rotate(torch.ones(2, 8), torch.tensor([40_003, 40_015]) * (10_004 / 40_016))
    torch.testing.assert_close(head.keys[40_000:40_002], expected)


BETWEEN = [
    lambda reader: reader.read([5]),
    lambda reader: reader.read(random_ids(100, 8)),
    lambda reader: [reader.read([token]) for token in random_ids(20, 9)],
    lambda reader: (reader.read(random_ids(5)), reader.end_interval(), reader.read([1])),
    lambda reader: (reader.condense_at(0), reader.read(random_ids(300))),
]


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("tokens", [0, 7, 48, 59])
def test_a_rewound_reader_goes_on_to_the_bit(tokens: int, positions: str) -> None:
    ids = random_ids(90)
    with attach(tiny_model(**POSITIONS[positions]), None) as attached:
        expected, reader = (attached.selecting_reader(4, SELECTION) for _ in range(2))
        if tokens:
            expected.read(ids[:tokens])
            reader.read(ids[:tokens])
        mark = reader.mark()
        for between in BETWEEN:
            between(reader)
            attached.selecting_reader(4, SELECTION).read(random_ids(50, 3))
            reader.rewind(mark)
            assert not tokens or torch.equal(reader.memory.counts, expected.memory.counts)
        for piece in (ids[tokens : tokens + 1], ids[tokens + 1 : 70], ids[70:]):
            assert torch.equal(reader.read(piece), expected.read(piece))
        assert_same(reader, expected)


def test_what_a_head_keeps_does_not_depend_on_threads() -> None:
    threads, readers = torch.get_num_threads(), []
    with attach(tiny_model(), None) as attached:
        try:
            for number in (1, 2):
                torch.set_num_threads(number)
                readers.append(attached.selecting_reader(4, SELECTION))
                readers[-1].read(random_ids(96))
        finally:
            torch.set_num_threads(threads)
    assert torch.equal(readers[0].memory.counts, readers[1].memory.counts)


def test_a_forgotten_interval_can_be_read_again() -> None:
    ids = random_ids(64)
    with attach(tiny_model(), None) as attached:
        reader, expected = (attached.selecting_reader(4, SELECTION) for _ in range(2))
        expected.read(ids)
        reader.read(ids[:48])
        size = reader.memory.size
        reader.read(ids[48:])
        reader.memory.truncate(size)
        assert_same(reader, _read(attached.selecting_reader(4, SELECTION), ids[:48]))


def _read(reader: SelectingReader, ids: Sequence[int]) -> SelectingReader:
    reader.read(ids)
    return reader


def test_a_beacon_and_selection_live_side_by_side() -> None:
    model, ids = tiny_model(), random_ids(60)
    beacon = random_beacon(model)
    with attach(model, beacon) as attached:
        one, other = attached.reader(4), attached.selecting_reader(4, SELECTION)
        for start in range(0, 60, 10):
            one.read(ids[start : start + 10])
            other.read(ids[start : start + 10])
        beacons = attached.reader(4).read(ids)
    with attach(model, None) as attached:
        selected = attached.selecting_reader(4, SELECTION)
        selected.read(ids)
    torch.testing.assert_close(one.logits(), beacons, atol=1e-4, rtol=1e-4)
    assert_same(other, selected)


def test_without_a_beacon_the_model_is_restored_and_has_no_beacons_reader() -> None:
    model, ids = tiny_model(), torch.tensor([random_ids(20)])
    modules = dict(model.named_modules())
    with torch.inference_mode():
        before = model(ids).logits
    with attach(model, None) as attached:
        with pytest.raises(ConfigError, match="no beacon is attached"):
            attached.reader(4)
        with pytest.raises(ConfigError, match="already installed"):
            attach(model, None)
    assert dict(model.named_modules()) == modules
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, before)


def test_in_bfloat16_and_rounded_it_goes_on_as_from_disk() -> None:
    ids = random_ids(80)
    model = tiny_model().to(torch.bfloat16)
    with attach(model, None) as attached:
        through, resumed = (attached.selecting_reader(4, SELECTION) for _ in range(2))
        for reader in (through, resumed):
            reader.memory.rounding = lambda rows: (rows * 4).round() / 4
        sink, *intervals = parts_of(through, ids)
        resumed.load(sink)
        for part in intervals:
            rounded = Selected(
                (part.keys * 4).round() / 4, (part.values * 4).round() / 4, part.kept, part.places, part.span
            )
            resumed.load(rounded)
        assert_same(through, resumed)


@pytest.mark.parametrize("window", [0, 3, 40_000])
def test_settings_that_cannot_be_are_refused(window: int) -> None:
    with pytest.raises(ConfigError, match="nothing can be selected"):
        Selection(window, 3, ())


def test_an_interval_must_fit_the_models_positions_twice() -> None:
    with (
        attach(tiny_model(max_position_embeddings=30), None) as attached,
        pytest.raises(ConfigError, match="needs 35 positions, and has 30"),
    ):
        attached.selecting_reader(4, SELECTION)

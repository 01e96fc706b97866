"""Rows of which each layer and head has its own number: what goes into a cache comes out of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from activation_beacon.selected import Selected
from beacon_cli.cache import builder, shards
from beacon_cli.cache.builder import Builder
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.quantization import rounded
from beacon_cli.cache.store import Store
from beacon_cli.checkpoints.condensers import SELECT
from beacon_cli.errors import CacheError
from tests.cache.synthetic_cache import DOCUMENT, IDENTITY, SINK, SUBJECT, TAIL, rows, tokens

LAYERS, HEADS, SPAN, INTERVALS = 2, 2, 16, 5


def selected(seed: int, size: int, span: int) -> Selected:
    """As many rows as are given, on average."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(LAYERS * HEADS * span, generator=generator).argsort()[: size * LAYERS * HEADS]
    chosen = torch.zeros(LAYERS * HEADS * span, dtype=torch.bool)
    chosen[order] = True
    chosen = chosen.view(LAYERS, HEADS, span)
    made = rows(seed, size)
    places = chosen.nonzero()[:, 2].to(torch.int16).view(LAYERS, HEADS, size)
    return Selected(made.keys, made.values, chosen.sum(-1, dtype=torch.int32), places, span)


GIVEN = [selected(index, 4 if index else 3, SPAN if index else SPAN - SINK.size) for index in range(INTERVALS)]


@pytest.fixture
def entry(tmp_path: Path) -> Callable[[int], tuple[Entry, Builder]]:
    """The cache of selected rows in so many bits, and its writer."""

    def made(bits: int) -> tuple[Entry, Builder]:
        identity = replace(IDENTITY, beacon=SELECT, scheme={"method": SELECT, "sink_size": 2}, bits=bits)
        found = Store(tmp_path).entry(identity, DOCUMENT.sha256, DOCUMENT.selection)
        return found, found.builder(replace(SUBJECT, identity=identity))

    return made


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one, two or three intervals, by their bits."""
    monkeypatch.setattr(builder, "SHARD_BYTES", 700)


def fill(cache: Builder) -> None:
    for index, each in enumerate(GIVEN):
        cache.add(tokens(index), 4, each, sink=None if index else SINK)
    cache.finish(TAIL, ())


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_a_cache_gives_back_what_was_added(entry: Any, bits: int) -> None:
    found, cache = entry(bits)
    with cache:
        fill(cache)
    memory = found.open()
    assert len(memory.manifest.shards) > 1
    sink, *intervals = memory
    assert torch.equal(sink.keys, SINK.keys)
    for each, given in zip(intervals, GIVEN, strict=True):
        assert torch.equal(each.counts, given.counts)
        assert torch.equal(each.places, given.places)
        assert each.span == given.span
        assert torch.equal(each.keys.float(), rounded(given.keys, bits))
        assert torch.equal(each.values.float(), rounded(given.values, bits))


def test_a_difference_counts_rows_that_only_one_selected() -> None:
    given = GIVEN[1]
    whole = given.spread()
    assert whole.keys.shape == (LAYERS, HEADS, SPAN, given.keys.shape[-1])
    for head, (keys, _, places) in zip(whole.keys.flatten(0, 1), given.heads(), strict=True):
        assert torch.equal(head[places.long()], keys)
        assert int((head.abs().sum(-1) > 0).sum()) == len(places)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("counts", lambda counts: counts + 1, "other numbers of rows"),
        ("counts", lambda counts: counts - 100, "counts or places are none"),
        ("places", lambda places: places + SPAN, "outside of their interval"),
        ("places", lambda places: -places - 1, "outside of their interval"),
        ("places", lambda places: places.int(), "counts or places are none"),
        ("counts", lambda counts: counts.repeat(1, 1, 2), "what the manifest says"),
        ("counts", None, "what the manifest says"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    entry: Any, monkeypatch: pytest.MonkeyPatch, name: str, spoil: Any, message: str
) -> None:
    """Whoever wrote them, with whatever checksums."""
    pack = shards.pack

    def packed(intervals: Any, ids: Any, sink: Any) -> bytes:
        spoiled = [
            {key: spoil(each) if key == name else each for key, each in tensors.items() if spoil or key != name}
            for tensors in intervals
        ]
        return pack(spoiled[:1] * len(spoiled) if name == "counts" and spoil is None else spoiled, ids, sink)

    monkeypatch.setattr(shards, "pack", packed)
    found, cache = entry(16)
    with cache:
        fill(cache)
    with pytest.raises(CacheError, match=message):
        list(found.open())


def test_a_beacons_rows_come_with_no_counts(entry: Any) -> None:
    """And selected ones with: neither is taken for the other."""
    found, cache = entry(16)
    with cache:
        cache.add(tokens(0), 4, rows(0), sink=SINK)
        cache.finish(TAIL, ())
    with pytest.raises(CacheError, match="what the manifest says"):
        list(found.open())

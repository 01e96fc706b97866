"""Activations in 16, 8 and 4 bits."""

from pathlib import Path

import pytest
import torch

from activation_beacon.memory import Activations
from beacon_cli.cache.identity import Identity, Subject
from beacon_cli.cache.quantization import half, quantize, rounded
from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError
from tests.cache.synthetic_cache import DOCUMENT, IDENTITY, SINK, SUBJECT, rows, tokens


@pytest.mark.parametrize(("bits", "error"), [(16, 0.0003), (8, 0.006), (4, 0.11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [8, 64, 80, 96])
def test_rounding_is_close_and_by_the_row(bits: int, error: float, dtype: torch.dtype, channels: int) -> None:
    given = (torch.randn(2, 3, 7, channels, generator=torch.Generator().manual_seed(0)) * 30).to(dtype)
    result = rounded(given, bits)
    assert result.dtype == dtype
    assert (result - given).norm() < error * given.norm()
    assert torch.equal(rounded(given[:, :, 2:3], bits), result[:, :, 2:3])
    if bits == 16 or dtype == torch.float32:
        assert torch.equal(rounded(result, bits), result)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-30, 1e30, -1e30])
def test_extreme_numbers_stay_finite(bits: int, value: float) -> None:
    result = rounded(torch.full((1, 1, 1, 32), value), bits)
    assert result.isfinite().all()
    assert not (result * value < 0).any()


def test_the_largest_of_a_group_keeps_its_size() -> None:
    given = torch.zeros(1, 1, 1, 32)
    given[..., 5] = -7.0
    for bits in (8, 4):
        assert rounded(given, bits)[..., 5].item() == pytest.approx(-7.0, rel=1e-3)


def test_what_16_bits_do_not_hold_is_refused() -> None:
    assert torch.equal(half(torch.tensor([65504.0, -1.0])), torch.tensor([65504.0, -1.0], dtype=torch.float16))
    with pytest.raises(CacheError, match="--cache-bits 8"):
        half(torch.tensor([70000.0]))


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_a_cache_gives_back_what_the_live_memory_holds(store: Store, bits: int) -> None:
    identity = Identity(**{**vars(IDENTITY), "bits": bits})
    subject = Subject(identity, DOCUMENT, SUBJECT.models, SUBJECT.compute)
    entry = store.entry(identity, DOCUMENT.sha256, DOCUMENT.selection)
    assert (entry.key == store.entry(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection).key) == (bits == 16)
    given = [Activations(1.1 * each.keys, 1.1 * each.values) for each in map(rows, range(5))]
    with entry.builder(subject) as cache:
        for index, interval in enumerate(given):
            cache.add(tokens(index), 4, interval, sink=None if index else SINK)
        cache.finish((), ())
    sink, *shards = entry.open()
    assert torch.equal(sink.keys, SINK.keys)
    assert {shard.keys.dtype for shard in shards} == {torch.float16 if bits == 16 else torch.float32}
    keys = torch.cat([shard.keys for shard in shards], dim=2).float()
    values = torch.cat([shard.values for shard in shards], dim=2).float()
    assert torch.equal(keys, torch.cat([rounded(each.keys, bits) for each in given], dim=2))
    assert torch.equal(values, torch.cat([rounded(each.values, bits) for each in given], dim=2))


def test_few_bits_take_less_disk(tmp_path: Path) -> None:
    large = torch.randn(2, 2, 64, 64)
    sizes = {bits: sum(t.nbytes for t in vars(quantize(large, bits)).values()) for bits in (8, 4)}
    assert sizes[8] < 0.27 * large.nbytes
    assert sizes[4] < 0.15 * large.nbytes


def test_what_16_bits_do_not_hold_is_refused_and_never_infinite() -> None:
    with pytest.raises(CacheError, match="--cache-bits 8"):
        rounded(torch.tensor([[1.0, 7e4]]), 16)

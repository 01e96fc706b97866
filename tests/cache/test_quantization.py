"""Activations in 8 and 4 bits."""

from pathlib import Path

import pytest
import torch

from beacon_cli.cache import Identity, Store, Subject
from beacon_cli.cache.quantization import dequantize, quantize, rounded
from tests.cache.synthetic_cache import DOCUMENT, IDENTITY, SINK, SUBJECT, rows, tokens


@pytest.mark.parametrize(("bits", "error"), [(8, 0.006), (4, 0.11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [8, 64, 80, 96])
def test_rounding_is_close_and_by_the_row(bits: int, error: float, dtype: torch.dtype, channels: int) -> None:
    given = (torch.randn(2, 3, 7, channels, generator=torch.Generator().manual_seed(0)) * 30).to(dtype)
    result = rounded(given, bits)
    assert result.dtype == dtype
    assert (result - given).norm() < error * given.norm()
    assert torch.equal(rounded(given[:, :, 2:3], bits), result[:, :, 2:3])
    again = quantize(result.float(), bits)
    if dtype == torch.float32:
        assert torch.equal(dequantize(again, bits), result)


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


@pytest.mark.parametrize("bits", [8, 4])
def test_a_cache_in_few_bits_gives_back_what_the_live_memory_holds(store: Store, bits: int) -> None:
    identity = Identity(**{**vars(IDENTITY), "bits": bits})
    subject = Subject(identity, DOCUMENT, SUBJECT.models, SUBJECT.compute)
    entry = store.entry(identity, DOCUMENT.sha256, DOCUMENT.selection)
    assert entry.key != store.entry(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection).key
    given = [rows(index) for index in range(5)]
    with entry.builder(subject) as cache:
        for index, interval in enumerate(given):
            cache.add(tokens(index), 4, interval, sink=None if index else SINK)
        cache.finish((), ())
    sink, *shards = entry.open()
    assert torch.equal(sink.keys, SINK.keys)
    for number, stored in enumerate((shard.keys for shard in shards), 0):
        assert stored.dtype == torch.float32, number
    keys = torch.cat([shard.keys for shard in shards], dim=2)
    values = torch.cat([shard.values for shard in shards], dim=2)
    assert torch.equal(keys, torch.cat([rounded(each.keys, bits) for each in given], dim=2))
    assert torch.equal(values, torch.cat([rounded(each.values, bits) for each in given], dim=2))


def test_few_bits_take_less_disk(tmp_path: Path) -> None:
    large = torch.randn(2, 2, 64, 64)
    sizes = {bits: sum(t.nbytes for t in vars(quantize(large, bits)).values()) for bits in (8, 4)}
    assert sizes[8] < 0.27 * large.nbytes
    assert sizes[4] < 0.15 * large.nbytes

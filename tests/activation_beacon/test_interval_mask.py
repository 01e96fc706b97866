"""Attention interval by interval: that of one mask of all rows and all keys, at a fraction of its cost."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from activation_beacon import attach
from activation_beacon.errors import ConfigError
from activation_beacon.interval_mask import IntervalMask, IntervalRows
from activation_beacon.ratios import Fixed
from activation_beacon.training import text_loss, training_labels, training_passes
from tests.activation_beacon.tiny import CONFIG, random_beacon, random_ids, tiny_model


def random_intervals() -> list[IntervalRows]:
    """Intervals of 5, 1 and 4 rows, the last one with two keys that are not its own rows."""
    generator = torch.Generator().manual_seed(1)
    intervals = []
    for memory, rows, own in ((2, 5, 5), (3, 1, 1), (6, 4, 6)):
        mask = torch.rand(1, 1, rows, memory + own, generator=generator) < 0.5
        mask[..., -1] = True  # every row sees something
        intervals.append(IntervalRows(memory, mask))
    return intervals


def dense(intervals: Sequence[IntervalRows], memory: int) -> Tensor:
    """(rows, memory + own keys) what `intervals` say, in one mask."""
    mask = torch.zeros(sum(b.rows for b in intervals), memory + sum(b.own for b in intervals), dtype=torch.bool)
    row, column = 0, memory
    for interval in intervals:
        part = slice(row, row + interval.rows)
        mask[part, : interval.memory] = interval.mask[0, 0, :, : interval.memory]
        mask[part, column : column + interval.own] = interval.mask[0, 0, :, interval.memory :]
        row, column = row + interval.rows, column + interval.own
    return mask


def test_the_same_attention_and_gradients_as_under_one_mask() -> None:
    intervals, memory = random_intervals(), 7  # of whose rows the last is seen by nobody
    whole = dense(intervals, memory)
    generator = torch.Generator().manual_seed(2)
    shapes = [(2, 3, length, 4) for length in (whole.shape[0], whole.shape[1], whole.shape[1])]
    tensors = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    weights = torch.randn(shapes[0], generator=generator)
    found = []
    for mask in (whole, IntervalMask.of(intervals)):
        out = scaled_dot_product_attention(*tensors, attn_mask=mask, scale=0.3)
        found.append((out, *torch.autograd.grad((out * weights).sum(), tensors)))
    for one, other in zip(*found, strict=True):
        assert type(other) is Tensor
        torch.testing.assert_close(other, one)


def test_it_grows_with_the_text_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(intervals: Sequence[IntervalRows]) -> IntervalMask:
        sizes.append(sum(interval.mask.numel() for interval in intervals))
        return real(intervals)

    real = IntervalMask.of
    monkeypatch.setattr(IntervalMask, "of", staticmethod(counted))
    model = tiny_model().requires_grad_(False)
    beacon = random_beacon(model)
    one = attach(model, beacon)
    for length in (256, 512):
        ids = torch.tensor(random_ids(length))
        text_loss(one, ids, training_labels(ids, CONFIG), training_passes(length, CONFIG, Fixed(8)))
    # An interval of 16 has 18 rows at most, and each sees them and the memory: 2 rows of every interval.
    assert sizes[0] < 16 * 18 * (18 + 32)
    assert sizes[1] < 32 * 18 * (18 + 64)


def test_models_that_compute_attention_otherwise_are_refused() -> None:
    model = tiny_model().requires_grad_(False)
    beacon = random_beacon(model)
    one = attach(model, beacon)
    model.set_attn_implementation("eager")
    ids = torch.tensor(random_ids(40))
    with pytest.raises(ConfigError, match="attn_implementation='sdpa'"):
        text_loss(one, ids, training_labels(ids, CONFIG), training_passes(40, CONFIG, Fixed(4)))

"""Attention in blocks computes what torch's own does."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from activation_beacon.attention import BLOCK, FEW_PAIRS, added, attend

# How far results in bfloat16 may be from those in float32, by their norm. Measured: 0.006.
FAR = 0.01


def drawn(heads: int, new: int, before: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (heads, new, 16), keys and values (before + new, 16)."""
    torch.manual_seed(heads + new + before)
    return torch.randn(heads, new, 16), torch.randn(before + new, 16), torch.randn(before + new, 16)


@pytest.mark.parametrize("before", [0, 1, 300])
@pytest.mark.parametrize("new", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize("heads", [1, 3])
def test_a_row_sees_all_before_it(heads: int, new: int, before: int) -> None:
    query, keys, values = drawn(heads, new, before)
    sees = torch.ones(new, before + new, dtype=torch.bool).tril(before)
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=sees, scale=0.3)
    torch.testing.assert_close(attend(query, keys, values, 0.3), expected)
    found = attend(query.bfloat16(), keys, values, 0.3)
    assert found.dtype == torch.bfloat16
    assert float((found - expected).norm() / expected.norm()) < FAR


@pytest.mark.parametrize("unseen", [0, 7, 300])
def test_a_row_sees_what_a_mask_lets_it(unseen: int) -> None:
    query, keys, values = drawn(3, 2 * BLOCK + 5, 300)
    rows = keys.shape[0]
    sees = torch.rand(query.shape[1], rows) > 0.5
    sees[:, : rows - unseen] = sees[:, -1] = True
    mask = added(sees[None, None], torch.float32)
    assert mask.shape == (query.shape[1], unseen)
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=sees, scale=0.3)
    torch.testing.assert_close(attend(query, keys, values, 0.3, mask), expected)
    found = attend(query.bfloat16(), keys, values, 0.3, mask)
    assert float((found - expected).norm() / expected.norm()) < FAR


@torch.inference_mode()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("new", [2 * BLOCK, 2 * BLOCK + 5])
def test_many_rows_without_gradients(new: int, masked: bool) -> None:
    query, keys, values = drawn(3, new, 1000)
    assert new * keys.shape[0] > FEW_PAIRS
    sees = torch.ones(new, keys.shape[0], dtype=torch.bool).tril(1000)
    mask = added(sees[None, None], torch.float32) if masked else None
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=sees, scale=0.3)
    torch.testing.assert_close(attend(query, keys, values, 0.3, mask), expected)

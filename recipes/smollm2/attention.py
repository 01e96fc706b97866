"""Attention within each of the conversations that lie one after the other in a row, forward and backward.

PyTorch's fused attention takes no heed of a mask's empty parts on a CPU and has a slow backward pass there (3.5 ms
for 9 heads and 256 tokens in bfloat16, eight times its forward pass). Here the products are written out, a block of
queries at a time against the keys up to its end, and the weights are kept for the way back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

NAME = "conversations"
BLOCK = 256


class _Attention(torch.autograd.Function):
    """softmax(q k' + mask) v within each conversation; q (heads, tokens, d), scaled, k and v (kv heads, tokens, d)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor]) -> Tensor:
        kept, out, n = [], torch.empty_like(q, memory_format=torch.contiguous_format), len(k)
        for start, first, end, mask in _blocks(masks):
            keys, values = k[:, start:end], v[:, start:end]
            # (kv heads, group · queries, keys): heads that share keys in one product.
            scores = torch.bmm(q[:, first:end].reshape(n, -1, q.shape[-1]), keys.transpose(1, 2))
            scores.view(len(q), -1, end - start).add_(mask)
            weights = torch.softmax(scores, -1)
            out[:, first:end] = torch.bmm(weights, values).view(len(q), -1, q.shape[-1])
            kept.append(weights)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.masks = masks
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, *kept = ctx.saved_tensors
        (grad,) = gradients
        n, width = len(k), q.shape[-1]
        grad_q = torch.empty_like(q, memory_format=torch.contiguous_format)
        # Several blocks add to one key: in float32, for bfloat16 sums lose what is small.
        grad_k, grad_v = (torch.zeros(k.shape, dtype=torch.float32) for _ in range(2))
        for (start, first, end, _), weights in zip(_blocks(ctx.masks), kept, strict=True):
            queries, above = (tensor[:, first:end].reshape(n, -1, width) for tensor in (q, grad))
            grad_v[:, start:end] += torch.bmm(weights.transpose(1, 2), above)
            scores = torch.bmm(above, v[:, start:end].transpose(1, 2))
            scores = torch.ops.aten._softmax_backward_data(scores, weights, -1, scores.dtype)
            grad_q[:, first:end] = torch.bmm(scores, k[:, start:end]).view(len(q), -1, width)
            grad_k[:, start:end] += torch.bmm(scores.transpose(1, 2), queries)
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None


def _blocks(masks: Sequence[Tensor]) -> Iterator[tuple[int, int, int, Tensor]]:
    """(the conversation's start in the row, the block's start and end there, the part of the mask) for each block."""
    start = 0
    for mask in masks:
        for first in range(0, len(mask), BLOCK):
            end = min(len(mask), first + BLOCK)
            yield start, start + first, start + end, mask[first:end, :end]
        start += len(mask)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch's is
def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls an attention: query (1, heads, tokens, d) -> (1, tokens, heads, d)."""
    out: Tensor = _Attention.apply(query[0] * scaling, key[0], value[0], _current)  # type: ignore[no-untyped-call]  # untyped in torch
    return out.transpose(0, 1)[None], None


_current: Sequence[Tensor] = ()


@contextmanager
def within(masks: Sequence[Tensor]) -> Iterator[None]:
    """What a pass's tokens see. It is no argument of the model: compiled layers would be compiled anew for every row.

    Args:
        masks: one a conversation, (n, n), additive, in the row's order; their lengths are the conversations'. No token
            may see a later one.
    """
    global _current
    _current = masks
    try:
        yield
    finally:
        _current = ()


AttentionInterface.register(NAME, attend)

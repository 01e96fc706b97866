"""Attention of many rows on the CPU, over the keys of one head.

Scores of a block of queries over all keys, softmax, values: three calls. In bfloat16 they take about half the time of
torch's fused kernel, which multiplies in float32 there, by MKL; in float32, by oneDNN, four fifths. No mask is made for
what is causal, and keys that every row sees cost no addition.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import pad

from activation_beacon import matmul

# Queries of each head at a time: their scores stay in the processor's cache.
BLOCK = 128
# Queries and keys come in multiples of these: for every shape that they meet, oneDNN's products prepare for a
# millisecond, which is longer than they take, and keep two thirds of a megabyte.
QUERIES, KEYS = 64, 256
# With fewer pairs of a query and a key, that preparation outweighs what it saves: they attend in float32, by MKL.
FEW_PAIRS = 200_000


def attend(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """What (heads, new, head_dim), computed in the query's type, see of the (rows, head_dim) that they share.

    Args:
        mask: from `added`; None lets the last `new` of the rows see all before them and themselves.

    Returns:
        As `query`.
    """
    heads, new, size = query.shape
    few = new * keys.shape[0] < FEW_PAIRS
    if query.dtype != torch.float32 and few:
        return attend(query.float(), keys, values, scale, mask).to(query.dtype)
    by_onednn = not few and matmul.by_onednn(query)
    of_queries, of_keys = (QUERIES, KEYS) if by_onednn else (1, 1)
    product: Callable[[Tensor, Tensor], Tensor] = matmul.linear if by_onednn else functional.linear
    rows, before, more = keys.shape[0], keys.shape[0] - new, -new % of_queries
    missing = -(rows + more) % of_keys + more
    query = _longer(query * scale, more)
    keys, values = (_longer(each.to(query.dtype), missing) for each in (keys, values))
    hidden = float("-inf")
    if mask is None:
        together = min(BLOCK, new)
        later = query.new_full((together, together + of_keys), hidden).triu_(1)
    else:
        mask = _longer(pad(mask, (0, missing), value=hidden), more)
    seen = torch.empty_like(query)
    for first in range(0, new, BLOCK):
        block = query[:, first : first + BLOCK]
        count = block.shape[1]
        if mask is None:
            end = before + first + count
            end += -end % of_keys
            unseen = later[:count, : end - before - first]
        else:
            end, unseen = rows + missing, mask[first : first + count]
        scores = product(block.reshape(heads * count, size), keys[:end])
        scores.view(heads, count, end)[..., end - unseen.shape[1] :] += unseen
        torch.softmax(scores, -1, out=scores)
        seen[:, first : first + count] = product(scores, values[:end].T).view(heads, count, size)
    return seen[:, :new]


def _longer(x: Tensor, rows: int) -> Tensor:
    """(…, columns) with so many rows of zeros after it; nothing is copied if there are none."""
    return pad(x, (0, 0, 0, rows)) if rows else x


def attend_one(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What (…, heads, head_dim) of one row, already scaled, see of all (…, rows, head_dim), in the query's type."""
    return (query @ keys.to(query.dtype).mT).softmax(-1) @ values.to(query.dtype)


def added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(new, last) what is added to the scores of the last rows, 0 or -infinity: without the first, which all see.

    Args:
        mask: (1, 1, new, rows), True where a row may attend.
    """
    hidden = ~mask[0, 0]
    some = hidden.any(0).nonzero()
    hidden = hidden[:, int(some[0]) if some.numel() else hidden.shape[1] :]
    return torch.zeros(hidden.shape, dtype=dtype, device=mask.device).masked_fill_(hidden, float("-inf"))

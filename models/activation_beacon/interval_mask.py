"""The attention of a pass that reads many intervals: each attends to the memory before it and to itself, so that the
cost grows with the text and not with its square, as it would under one mask of all rows and all keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from activation_beacon.stand_in import MaskStandIn


@dataclass(frozen=True)
class IntervalRows:
    """The rows of one interval, and what they attend to.

    Attributes:
        memory: rows of memory before it.
        mask: (1, 1, rows, memory + own keys), True where a row may attend.
    """

    memory: int
    mask: Tensor

    @property
    def rows(self) -> int:
        return self.mask.shape[2]

    @property
    def own(self) -> int:
        return self.mask.shape[3] - self.memory


class IntervalMask(MaskStandIn):
    """In place of one mask for all rows and keys.

    Keys and values must be all of the memory, then the own keys of every interval in turn; queries likewise are the
    rows of every interval in turn.
    """

    intervals: Sequence[IntervalRows]

    @staticmethod
    def of(intervals: Sequence[IntervalRows]) -> "IntervalMask":
        mask: IntervalMask = IntervalMask.on(intervals[0].mask.device)
        mask.intervals = intervals
        return mask

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **how: Any) -> Tensor:
        """(batch, heads, rows, head_dim) -> the same."""
        intervals = self.intervals
        own = [interval.own for interval in intervals]
        sizes = [key.shape[2] - sum(own), *own]
        (past_keys, *own_keys), (past_values, *own_values) = (torch.split(each, sizes, 2) for each in (key, value))
        # transformers hands over a single row as several, one for each of the heads that share keys.
        rows = [interval.rows for interval in intervals] if len(intervals) > 1 else [query.shape[2]]
        done = []
        for interval, asking, keys, values in zip(
            intervals, torch.split(query, rows, 2), own_keys, own_values, strict=True
        ):
            seen = torch.cat((past_keys[:, :, : interval.memory], keys), 2)
            shown = torch.cat((past_values[:, :, : interval.memory], values), 2)
            done.append(scaled_dot_product_attention(asking, seen, shown, attn_mask=interval.mask, **how))
        return torch.cat(done, 2)

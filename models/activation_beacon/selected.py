"""Rows of which every layer and head has its own number."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from activation_beacon.memory import Activations


@dataclass(frozen=True)
class Selected(Activations):
    """Some of an interval's rows, of each head its own.

    `keys` and `values` are (layers, kv_heads, rows, head_dim) for as many rows as heads have on average. In that shape
    the rows stand in one list: those of the first layer's first head, those of its second head, and so on.

    Attributes:
        kept: (layers, kv_heads) int32, how many rows each head has.
        places: (layers, kv_heads, rows) int16, in the same list: the place of each row among the interval's tokens.
        tokens: of the interval, the sink not counted.
    """

    kept: Tensor
    places: Tensor
    tokens: int

    def part(self, first: int, end: int | None) -> "Selected":
        """All of them: an interval cannot be cut.

        Raises:
            ValueError: if that is not what is asked for.
        """
        if first or (end is not None and end < self.size):
            raise ValueError("a part of an interval of which each head has its own rows")
        return self

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "Selected":
        moved = super().to(device, dtype)
        return replace(self, keys=moved.keys, values=moved.values, places=self.places.to(device))

    @property
    def counts(self) -> Tensor:
        return self.kept

    @property
    def span(self) -> int:
        return self.tokens

    def heads(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        sizes: list[int] = self.kept.flatten().tolist()
        keys, values = (torch.split(each.flatten(0, 2), sizes) for each in (self.keys, self.values))
        yield from zip(keys, values, torch.split(self.places.flatten(), sizes), strict=True)

    def spread(self) -> Activations:
        """All rows of the interval, zero where a head did not keep one."""
        shape = *self.kept.shape, self.tokens, self.keys.shape[-1]
        head = torch.arange(self.kept.numel()).repeat_interleave(self.kept.flatten()).to(self.places.device)
        where = head * self.tokens + self.places.flatten()
        keys, values = (
            each.new_zeros(shape).flatten(0, 2).index_copy(0, where, each.flatten(0, 2)).view(shape)
            for each in (self.keys, self.values)
        )
        return Activations(keys, values)


def select_rows(rows: Activations, chosen: Tensor) -> Selected:
    """Those of the rows that are chosen, (layers, kv_heads, rows) bool; as many as heads can have on average."""
    shape = *chosen.shape[:2], -1
    where = chosen.nonzero()[:, 2]  # in the order of layers, heads and places
    return Selected(
        rows.keys[chosen].view(*shape, rows.keys.shape[-1]),
        rows.values[chosen].view(*shape, rows.values.shape[-1]),
        kept=chosen.sum(-1, dtype=torch.int32).cpu(),
        places=where.to(torch.int16).view(shape),
        tokens=rows.size,
    )

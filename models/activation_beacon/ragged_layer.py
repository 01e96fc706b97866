"""One layer of a memory in which each head has its own number of rows, and its attention.

Heads of different lengths fit no tensor, so each asks by itself, over just the rows that it has.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from activation_beacon.attention import attend, attend_one
from activation_beacon.cache import CacheLayer
from activation_beacon.memory import FIRST_CAPACITY
from activation_beacon.rotary import Rotary, turn
from activation_beacon.stand_in import MaskStandIn

# Queries that are scored at a time: what bounds the memory that takes.
SCORED = 128


@dataclass
class Running:
    """What the layers of a memory share about the pass that runs.

    Attributes:
        rows: of the interval in progress, from before the pass.
        new: rows of the pass.
        layer: the one that is attending.
        scored: None, or the first of the interval's rows whose scores are wanted.
        scores: of each layer so far, (kv_heads, rows) float32.
        mask: (new, rows) who sees what, for the longest head so far.
        angles: cosine and sine, (new, rotary_dim / 2) each, by which the memory turns the pass's queries and keys; None
            if the model does.
    """

    rows: int = 0
    new: int = 0
    layer: "RaggedLayer | None" = None
    scored: int | None = None
    scores: list[Tensor] | None = None
    mask: Tensor | None = None
    angles: tuple[Tensor, Tensor] | None = None

    def turned(self, rows: Tensor) -> Tensor:
        """(…, new, head_dim) queries or keys where they stand."""
        return rows if self.angles is None else turn(rows, *self.angles, 1.0)

    def mask_of(self, rows: int, query: Tensor) -> Tensor:
        """(new, rows) what is added to the scores of a head that has so many rows, the new ones included: 0, or
        -infinity (of the query's type: PyTorch would make that of a boolean mask anew for every head).
        """
        if self.mask is None or self.mask.shape != (self.new, max(rows, self.mask.shape[1])):
            later = torch.ones(self.new, rows, dtype=torch.bool, device=query.device).triu(1 + rows - self.new)
            self.mask = torch.zeros(later.shape, dtype=query.dtype, device=query.device)
            self.mask.masked_fill_(later, float("-inf"))
        return self.mask[:, self.mask.shape[1] - rows :]


class Head:
    """The rows of one head: those that stay, then those of the interval in progress.

    Attributes:
        keys, values: (capacity, head_dim); keys are rotated where they stand, but for those after `placed` that stay.
        count: rows that stay.
        placed: how many of them are rotated where they belong.
    """

    def __init__(self, like: Tensor) -> None:
        self._both = like.new_empty(2, 0, like.shape[-1])  # keys and values, which are written together
        self.keys, self.values = self._both
        self._free: Tensor = self.keys
        self._places = like.new_empty(0, dtype=torch.float32)
        self.count = self.placed = 0

    @property
    def free(self) -> Tensor:
        """(count, head_dim) keys that stay, without rotation."""
        return self._free[: self.count]

    @property
    def places(self) -> Tensor:
        """(count) float32, in the text."""
        return self._places[: self.count]

    def write(self, first: int, both: Tensor) -> None:
        """Put keys and values, (2, rows, head_dim), at row `first`, after which there are no others."""
        rows = both.shape[1]
        if self._both.shape[1] < first + rows:
            self._both = _with_room(self._both, first + rows, 1)
            self.keys, self.values = self._both
        self._both.narrow(1, first, rows).copy_(both)

    def keep(self, free: Tensor, values: Tensor, places: Tensor) -> None:
        """Let rows stay, after those that do; `place` gives their keys a rotation."""
        first, end = self.count, self.count + free.shape[0]
        self.write(first, torch.stack((free, values)))
        self._free, self._places = _with_room(self._free, end, 0), _with_room(self._places, end, 0)
        self._free[first:end], self._places[first:end] = free, places
        self.count = end

    def copied(self, rows: int) -> Tensor:
        """Keys and values, (2, rows, head_dim), of so many rows after those that stay."""
        return self._both[:, self.count : self.count + rows].clone()

    def cut(self, first: int, rows: int) -> None:
        """Let go of so many rows from row `first` on; what is written after those that stay is lost, too."""
        end = first + rows
        self._both = torch.cat((self._both[:, :first], self._both[:, end : self.count]), 1)
        self.keys, self.values = self._both
        self._free = torch.cat((self._free[:first], self._free[end : self.count]))
        self._places = torch.cat((self._places[:first], self._places[end : self.count]))
        self.placed = self.placed - rows if self.placed >= end else min(self.placed, first)
        self.count -= rows

    def drop(self, rows: int) -> None:
        """Forget the last rows that stay."""
        self.count -= rows
        self.placed = min(self.placed, self.count)

    def place(self, rotary: Rotary, scale: float, first: int) -> None:
        """Rotate the keys that stay, from `first` on, to their places times `scale`."""
        if first < self.count:
            self.keys[first : self.count] = rotary.rotate(self.free[first:], self.places[first:] * scale)
        self.placed = self.count


def _with_room(buffer: Tensor, rows: int, dim: int) -> Tensor:
    """The buffer, or a copy that has room for so many rows. Capacities double, so that all copies take linear time."""
    if buffer.shape[dim] >= rows:
        return buffer
    shape = list(buffer.shape)
    shape[dim] = max(FIRST_CAPACITY, 1 << (rows - 1).bit_length())
    grown = buffer.new_empty(shape)
    grown.narrow(dim, 0, buffer.shape[dim]).copy_(buffer)
    return grown


class RaggedLayer(CacheLayer):
    """One layer's heads. What it hands to the attention goes unused: the mask attends, by `attend`.

    Attributes:
        free: (kv_heads, new, head_dim) keys of the last pass that the memory turned, without rotation.
    """

    def __init__(self, running: Running) -> None:
        super().__init__()
        self.heads: list[Head] = []
        self.free: Tensor | None = None
        self._running = running

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.begin(key_states.shape[1], key_states)

    def begin(self, heads: int, like: Tensor) -> None:
        """Have so many heads, of `like`'s type and last dimension, unless it has them."""
        if not self.is_initialized:
            self.heads = [Head(like) for _ in range(heads)]
            self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write (1, kv_heads, new, head_dim) after the interval in progress."""
        self.begin(key_states.shape[1], key_states)
        running = self._running
        if running.angles is not None:
            self.free = key_states[0].clone()  # what it is a part of may be large
        for head, both in zip(
            self.heads, torch.stack((running.turned(key_states)[0], value_states[0]), 1), strict=True
        ):
            head.write(head.count + running.rows, both)
        running.layer, running.new = self, key_states.shape[2]
        return key_states, value_states

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """What (1, heads, new, head_dim), or the same elements in another shape, sees, in the same shape."""
        running = self._running
        asking = running.turned(query.reshape(len(self.heads), -1, running.new, query.shape[-1]))
        if running.new == 1 and running.scored is None and query.device.type == "cpu":
            return self._attend_one(asking[:, :, 0] * scale).view(query.shape)
        seen, scores = [], []
        for head, queries in zip(self.heads, asking, strict=True):
            end = head.count + running.rows + running.new
            keys, values = head.keys[:end], head.values[:end]
            if running.scored is None:
                if query.device.type == "cpu":
                    seen.append(attend(queries, keys, values, scale))
                else:
                    mask = running.mask_of(end, query) if 1 < running.new < end else None
                    seen.append(_attend(queries, keys, values, scale, mask))
                continue
            first, last = head.count + running.scored, head.count + running.rows
            shown, score = _attend_and_score(queries, keys, values, scale, slice(first, last))
            seen.append(shown)
            scores.append(score * values[first:last].float().norm(dim=-1))
        if running.scores is not None:
            running.scores.append(torch.stack(scores))
        return torch.stack(seen).reshape(query.shape)

    def _attend_one(self, query: Tensor) -> Tensor:
        """What (kv_heads, groups, head_dim) of one row, already scaled, see."""
        more = self._running.rows + 1
        return torch.stack(
            [
                attend_one(asking, head.keys[: head.count + more], head.values[: head.count + more])
                for head, asking in zip(self.heads, query.unbind(), strict=True)
            ]
        )

    def get_seq_length(self) -> int:
        return self._running.rows


def _attend(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(groups, new, head_dim) over (rows, head_dim), the last `new` of them causally."""
    if query.shape[1] == 1:
        # One row sees all keys: the heads that share these are as good as rows, as they are in `decoder`.
        rows = query.transpose(0, 1)[None]
        return scaled_dot_product_attention(rows, keys[None, None], values[None, None], scale=scale)[0].transpose(0, 1)
    shared = query.shape[0], -1, -1
    shown: Tensor = scaled_dot_product_attention(
        query[None],
        keys.expand(*shared)[None],
        values.expand(*shared)[None],
        attn_mask=mask,
        scale=scale,
        is_causal=mask is None and query.shape[1] > 1,
    )[0]
    return shown


def _attend_and_score(
    query: Tensor, keys: Tensor, values: Tensor, scale: float, scored: slice
) -> tuple[Tensor, Tensor]:
    """The same, and for each of the `scored` rows what queries draw from it, in float32.

    That is the largest probability that any query gives it, and the sum over all queries, which of the heads that share
    the row is their mean: a row that every query needs a little of is lost as badly as one that a single query needs.
    """
    new, before = query.shape[1], keys.shape[0] - query.shape[1]
    across = keys.float().T * scale
    later = torch.ones(SCORED, SCORED, dtype=torch.bool, device=query.device).triu(1)
    shown, best = [], torch.zeros(scored.stop - scored.start, device=query.device)
    total = torch.zeros_like(best)
    for first in range(0, new, SCORED):
        block = query[:, first : first + SCORED].float()
        size, own = block.shape[1], before + first
        scores = block @ across[:, : own + size]  # (groups, block, rows)
        scores[..., own:].masked_fill_(later[:size, :size], float("-inf"))
        probabilities = scores.softmax(-1)
        given = probabilities[..., scored]
        best, total = torch.maximum(best, given.amax((0, 1))), total + given.sum(1).mean(0)
        shown.append(probabilities.to(values.dtype) @ values[: own + size])
    return torch.cat(shown, 1), best + total


class RaggedMask(MaskStandIn):
    """Lets the rows of a pass attend to a memory, see `RaggedLayer.attend`."""

    running: Running

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **how: Any) -> Tensor:
        layer, self.running.layer = self.running.layer, None
        if layer is None:
            raise ValueError("no layer has handed its keys to the memory")
        return layer.attend(query, how["scale"])

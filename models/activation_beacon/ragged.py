"""A memory in which every layer and head has its own number of rows, each at its own place in the text.

A transformers `Cache` that attends as well: heads of different lengths fit no tensor, so each asks by itself, over just
the rows that it has.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import Cache, CacheLayerMixin

from activation_beacon.memory import FIRST_CAPACITY, Activations
from activation_beacon.rotary import Rotary, position_tensor
from activation_beacon.stand_in import MaskStandIn

# Queries that are scored at a time: what bounds the memory that takes.
SCORED = 128


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

    def to(self, device: torch.device, dtype: torch.dtype) -> "Selected":
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


@dataclass
class _Running:
    """What the layers of a memory share about the pass that runs.

    Attributes:
        rows: of the interval in progress, from before the pass.
        new: rows of the pass.
        layer: the one that is attending.
        scored: None, or the first of the interval's rows whose scores are wanted.
        scores: of each layer so far, (kv_heads, rows) float32.
        mask: (new, rows) who sees what, for the longest head so far.
    """

    rows: int = 0
    new: int = 0
    layer: "_RaggedLayer | None" = None
    scored: int | None = None
    scores: list[Tensor] | None = None
    mask: Tensor | None = None

    def mask_of(self, rows: int, device: torch.device) -> Tensor:
        """(new, rows) mask of a head that has so many rows, the new ones included."""
        if self.mask is None or self.mask.shape != (self.new, max(rows, self.mask.shape[1])):
            self.mask = torch.ones(self.new, rows, dtype=torch.bool, device=device).tril(rows - self.new)
        return self.mask[:, self.mask.shape[1] - rows :]


class _Head:
    """The rows of one head: those that stay, then those of the interval in progress.

    Attributes:
        keys, values: (capacity, head_dim); keys are rotated where they stand, but for those after `placed` that stay.
        count: rows that stay.
        free: (count, head_dim) their keys without rotation.
        places: (count) float32, in the text.
        placed: how many of them are rotated where they belong.
    """

    def __init__(self, like: Tensor) -> None:
        self.keys, self.values = like.new_empty(0, like.shape[-1]), like.new_empty(0, like.shape[-1])
        self.free, self.places = self.keys, like.new_empty(0, dtype=torch.float32)
        self.count = self.placed = 0

    def write(self, first: int, keys: Tensor, values: Tensor) -> None:
        """Put (rows, head_dim) at row `first`, after which there are no others."""
        end = first + keys.shape[0]
        if self.keys.shape[0] < end:
            capacity = max(FIRST_CAPACITY, 1 << (end - 1).bit_length())
            for name in ("keys", "values"):
                old = getattr(self, name)
                grown = old.new_empty(capacity, old.shape[-1])
                grown[:first] = old[:first]
                setattr(self, name, grown)
        self.keys[first:end], self.values[first:end] = keys, values

    def keep(self, free: Tensor, values: Tensor, places: Tensor) -> None:
        """Let rows stay, after those that do; `place` gives their keys a rotation."""
        self.write(self.count, free, values)
        self.free, self.places = torch.cat((self.free, free)), torch.cat((self.places, places))
        self.count += free.shape[0]

    def copied(self, rows: int) -> tuple[Tensor, Tensor]:
        """Keys and values of so many rows after those that stay."""
        own = slice(self.count, self.count + rows)
        return self.keys[own].clone(), self.values[own].clone()

    def drop(self, rows: int) -> None:
        """Forget the last rows that stay."""
        self.count -= rows
        self.free, self.places = self.free[: self.count], self.places[: self.count]
        self.placed = min(self.placed, self.count)

    def place(self, rotary: Rotary, scale: float, first: int) -> None:
        """Rotate the keys that stay, from `first` on, to their places times `scale`."""
        if first < self.count:
            self.keys[first : self.count] = rotary.rotate(self.free[first:], self.places[first:] * scale)
        self.placed = self.count


class _RaggedLayer(CacheLayerMixin):
    """One layer's heads. What it hands to the attention goes unused: the mask attends, by `attend`."""

    is_initialized: bool
    is_sliding = False

    def __init__(self, running: _Running) -> None:
        super().__init__()
        self.heads: list[_Head] = []
        self._running = running

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.begin(key_states.shape[1], key_states)

    def begin(self, heads: int, like: Tensor) -> None:
        """Have so many heads, of `like`'s type and last dimension, unless it has them."""
        if not self.is_initialized:
            self.heads = [_Head(like) for _ in range(heads)]
            self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write (1, kv_heads, new, head_dim) after the interval in progress."""
        self.begin(key_states.shape[1], key_states)
        running = self._running
        for head, keys, values in zip(self.heads, key_states[0], value_states[0], strict=True):
            head.write(head.count + running.rows, keys, values)
        running.layer, running.new = self, key_states.shape[2]
        return key_states, value_states

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """What (1, heads, new, head_dim), or the same elements in another shape, sees, in the same shape."""
        running = self._running
        asking = query.reshape(len(self.heads), -1, running.new, query.shape[-1])
        seen, scores = [], []
        for head, queries in zip(self.heads, asking, strict=True):
            end = head.count + running.rows + running.new
            keys, values = head.keys[:end], head.values[:end]
            if running.scored is None:
                mask = running.mask_of(end, query.device) if 1 < running.new < end else None
                seen.append(_attend(queries, keys, values, scale, mask))
                continue
            first, last = head.count + running.scored, head.count + running.rows
            shown, score = _attend_and_score(queries, keys, values, scale, slice(first, last))
            seen.append(shown)
            scores.append(score * values[first:last].float().norm(dim=-1))
        if running.scores is not None:
            running.scores.append(torch.stack(scores))
        return torch.stack(seen).reshape(query.shape)

    def get_seq_length(self) -> int:
        return self._running.rows

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._running.rows + query_length, 0

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length


def _attend(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(groups, new, head_dim) over (rows, head_dim), the last `new` of them causally."""
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
    """The same, and for each of the `scored` rows the largest probability that a query gives it, in float32."""
    new, before = query.shape[1], keys.shape[0] - query.shape[1]
    across = keys.float().T * scale
    later = torch.ones(SCORED, SCORED, dtype=torch.bool, device=query.device).triu(1)
    shown, best = [], torch.zeros(scored.stop - scored.start, device=query.device)
    for first in range(0, new, SCORED):
        block = query[:, first : first + SCORED].float()
        size, own = block.shape[1], before + first
        scores = block @ across[:, : own + size]  # (groups, block, rows)
        scores[..., own:].masked_fill_(later[:size, :size], float("-inf"))
        probabilities = scores.softmax(-1)
        best = torch.maximum(best, probabilities[..., scored].amax((0, 1)))
        shown.append(probabilities.to(values.dtype) @ values[: own + size])
    return torch.cat(shown, 1), best


class RaggedMask(MaskStandIn):
    """Lets the rows of a pass attend to a memory, see `_RaggedLayer.attend`."""

    running: _Running

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **how: Any) -> Tensor:
        layer, self.running.layer = self.running.layer, None
        if layer is None:
            raise ValueError("no layer has handed its keys to the memory")
        return layer.attend(query, how["scale"])


@dataclass(frozen=True)
class _Segment:
    """What became memory together: rows (on average), places that it takes, rows of each layer's heads."""

    size: int
    span: int
    counts: list[list[int]]


@dataclass(frozen=True)
class RaggedMark:
    """Where a memory was, see `RaggedMemory.mark`: its segments, scale, and the rows of the interval in progress."""

    segments: int
    scale: float
    rows: int
    interval: list[list[tuple[Tensor, Tensor]]]


class RaggedMemory(Cache):
    """Activations of one sequence (batch 1): memory, each head with its own rows, then the interval in progress.

    Memory stands at its places in the text times `scale`, which is 1 as long as the model's positions last.

    Attributes:
        scale: see above.
        rounding: see `sequence_reader.Memory`.
    """

    def __init__(self, layers: int, rotary: Rotary) -> None:
        self.scale = 1.0
        self.rounding: Callable[[Tensor], Tensor] | None = None
        self._rotary, self._running = rotary, _Running()
        self._segments: list[_Segment] = []
        super().__init__(layers=[_RaggedLayer(self._running) for _ in range(layers)])

    @property
    def rotary(self) -> Rotary:
        """The rotary embedding; frequencies that grow have not grown, for no position is beyond the model's."""
        self._rotary.prepare(0)
        return self._rotary

    @property
    def size(self) -> int:
        """Rows that hold something, in each layer and head on average."""
        return sum(segment.size for segment in self._segments) + self._running.rows

    @property
    def places(self) -> int:
        """Places in the text that the memory takes, without the interval in progress."""
        return sum(segment.span for segment in self._segments)

    @property
    def counts(self) -> Tensor:
        """(layers, kv_heads) how many rows each head has; (layers, 0) before anything is read."""
        counts = [[head.count + self._running.rows for head in layer.heads] for layer in self._layers]
        return torch.tensor(counts, dtype=torch.int64).reshape(len(self._layers), -1)

    def mask(self) -> RaggedMask:
        """What lets a pass attend; only with it can one."""
        mask: RaggedMask = RaggedMask.on(self._device)
        mask.running, self._running.mask = self._running, None
        return mask

    def commit(self, rows: int) -> None:
        """Keep the rows that a pass has just written: they are of the interval in progress."""
        self._running.rows += rows

    def forget_interval(self) -> None:
        """Forget the interval in progress."""
        self._running.rows = 0

    def stand(self, end: int) -> int:
        """Let the memory end at position `end` or before; where it ends, and the next interval begins."""
        places = self.places
        stop = min(places, end)
        self._scale_to(stop / places if places else 1.0)
        return stop

    def scores(self, first: int, run: Callable[[], object]) -> Tensor:
        """What a pass draws on: (layers, kv_heads, rows) scores of the interval's rows from `first` on.

        A score is the largest probability that any row of the pass gives to the key, times the length of the value.

        Args:
            run: runs the pass, whose rows are not kept.
        """
        running = self._running
        running.scored, running.scores = first, []
        try:
            run()
            return torch.stack(running.scores)
        finally:
            running.scored = running.scores = None

    def finish_interval(
        self, position: int, sink: int, chosen: Tensor | None
    ) -> tuple[Activations | None, Activations | None]:
        """Let go of the interval in progress, but for what becomes memory.

        Args:
            position: of its first row.
            sink: so many of its first rows become memory whatever is chosen.
            chosen: (layers, kv_heads, others) which of the others do; None for all.

        Returns:
            The sink and the others that became memory, before `rounding`; None if there are none.
        """
        rows, rotary = self._running.rows, self.rotary
        positions = position_tensor(range(position, position + rows), self._device)
        keys, values = [], []
        for head in self._heads():
            rotated, value = head.copied(rows)
            keys.append(rotary.unrotate(rotated, positions))
            values.append(value)
        self.forget_interval()
        shape = len(self._layers), -1, rows, keys[0].shape[-1]
        whole = Activations(torch.stack(keys).view(shape), torch.stack(values).view(shape))
        front = whole.part(0, sink) if sink else None
        others = whole.part(sink, None) if sink < rows else None
        if others is not None and chosen is not None:
            others = _selected(others, chosen)
        for made in (front, others):
            if made is not None:
                self.append(self._rounded(made) if made is others else made)
        return front, others

    def append(self, activations: Activations) -> None:
        """Place what became memory after the memory; there must be no interval in progress."""
        start, heads = self.places, activations.keys.shape[1]
        for layer in self._layers:
            layer.begin(heads, activations.keys)
        counts = []
        for head, (free, values, places) in zip(self._heads(), activations.heads(), strict=True):
            head.keep(free, values, start + places.float())  # which are exact up to 2**24; 16 bits would not do
            counts.append(free.shape[0])
        layers = [counts[first : first + heads] for first in range(0, len(counts), heads)]
        self._segments.append(_Segment(activations.size, activations.span, layers))

    def extend(self, other: "RaggedMemory", sink: int) -> None:
        """Place another memory after this one, without its first `sink` rows, which are a segment."""
        first = 1 if sink else 0
        start = self.places - sink
        for layer, theirs in zip(self._layers, other._layers, strict=True):
            layer.begin(len(theirs.heads), theirs.heads[0].free)
            for head, their in zip(layer.heads, theirs.heads, strict=True):
                free, places = their.free[sink:], their.places[sink:]
                head.keep(free, their.values[sink : their.count], start + places)
        self._segments += other._segments[first:]

    def truncate(self, size: int) -> None:
        """Forget the rows from `size` on, which is where a finished interval ended."""
        self.forget_interval()
        while self.size > size:
            self._drop()

    def mark(self) -> RaggedMark:
        """Remember the present state, for `rewind`; copies nothing but the interval in progress."""
        rows = self._running.rows
        interval = [[head.copied(rows) for head in layer.heads] for layer in self._layers if rows]
        return RaggedMark(len(self._segments), self.scale, rows, interval)

    def rewind(self, mark: RaggedMark) -> None:
        """Go back to where the memory was, to the bit, from anywhere after it."""
        while len(self._segments) > mark.segments:
            self._drop()
        self._scale_to(mark.scale)
        self._running.rows = mark.rows
        for layer, heads in zip(self._layers, mark.interval, strict=False):
            for head, (keys, values) in zip(layer.heads, heads, strict=True):
                head.write(head.count, keys, values)

    @property
    def _layers(self) -> Sequence[_RaggedLayer]:
        return self.layers  # type: ignore[no-any-return]  # transformers' own

    def _heads(self) -> Iterator[_Head]:
        """All of them, layer by layer."""
        for layer in self._layers:
            yield from layer.heads

    def _drop(self) -> None:
        segment = self._segments.pop()
        for layer, counts in zip(self._layers, segment.counts, strict=True):
            for head, count in zip(layer.heads, counts, strict=True):
                head.drop(count)

    def _scale_to(self, scale: float) -> None:
        """Rotate every key that is not where it belongs."""
        rotary, moved = self.rotary, scale != self.scale
        self.scale = scale
        for head in self._heads():
            head.place(rotary, scale, 0 if moved else head.placed)

    def _rounded(self, made: Activations) -> Activations:
        if self.rounding is None:
            return made
        return replace(made, keys=self.rounding(made.keys), values=self.rounding(made.values))

    @property
    def _device(self) -> torch.device:
        return self._rotary.inv_freq.device


def _selected(rows: Activations, chosen: Tensor) -> Selected:
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

"""A memory in which every layer and head has its own number of rows, each at its own place in the text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import add

import torch
from torch import Tensor

from activation_beacon.cache import Cache
from activation_beacon.memory import Activations
from activation_beacon.ragged_layer import Head, RaggedLayer, RaggedMask, Running
from activation_beacon.rotary import Rotary


@dataclass(frozen=True)
class _Segment:
    """What became memory together: rows (on average), places that it takes, rows of each layer's heads; `counts` is
    None if the rows are not here.
    """

    size: int
    span: int
    counts: list[list[int]] | None


@dataclass(frozen=True)
class RaggedMark:
    """Where a memory was, see `RaggedMemory.mark`: its segments, scale, and the rows of the interval in progress with
    what layers have of their keys without rotation.
    """

    segments: int
    scale: float
    rows: int
    interval: list[list[Tensor]]
    free: list[Tensor | None]


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
        self._rotary, self._running = rotary, Running()
        self._segments: list[_Segment] = []
        super().__init__(layers=[RaggedLayer(self._running) for _ in range(layers)])

    @property
    def rotary(self) -> Rotary:
        """The rotary embedding; frequencies that grow have not grown, for no position is beyond the model's."""
        self._rotary.prepare(0)
        return self._rotary

    @property
    def size(self) -> int:
        """Rows that hold something, in each layer and head on average; those that were let go of count."""
        return sum(segment.size for segment in self._segments) + self._running.rows

    @property
    def places(self) -> int:
        """Places in the text that the memory takes, without the interval in progress."""
        return sum(segment.span for segment in self._segments)

    @property
    def intact(self) -> bool:
        """Whether all rows are here, so that it can be read with."""
        return all(segment.counts is not None for segment in self._segments)

    @property
    def held(self) -> int:
        """Places whose rows are here."""
        return sum(segment.span for segment in self._segments if segment.counts is not None)

    @property
    def counts(self) -> Tensor:
        """(layers, kv_heads) how many rows each head has here; (layers, 0) before anything is read."""
        counts = [[head.count + self._running.rows for head in layer.heads] for layer in self._layers]
        return torch.tensor(counts, dtype=torch.int64).reshape(len(self._layers), -1)

    def mask(self, turning: Tensor | None = None) -> RaggedMask:
        """What lets a pass attend; only with it can one.

        Args:
            turning: (new) positions to which the memory turns the pass's queries and keys, which the model leaves as
                they are at position 0; None if it has turned them.
        """
        mask: RaggedMask = RaggedMask.on(self._device)
        mask.running, self._running.mask = self._running, None
        self._running.angles = None if turning is None else self.rotary.angles(turning)
        return mask

    def commit(self, rows: int) -> None:
        """Keep the rows that a pass has just written: they are of the interval in progress."""
        self._running.rows += rows

    def forget(self, rows: int) -> None:
        """Forget the last rows of the interval in progress."""
        self._running.rows -= rows

    def forget_interval(self) -> None:
        """Forget the interval in progress."""
        self._running.rows = 0

    def stand(self, end: int) -> int:
        """Let the memory end at position `end` or before; where it ends, and the next interval begins.

        Raises:
            ValueError: if not all of its rows are here.
        """
        if not self.intact:
            raise ValueError("rows of the memory have been let go of, or were never loaded")
        places = self.places
        stop = min(places, end)
        self._scale_to(stop / places if places else 1.0)
        return stop

    def scores(self, first: int, run: Callable[[], object]) -> Tensor:
        """What a pass draws on: (layers, kv_heads, rows) scores of the interval's rows from `first` on.

        A score is the largest probability that any row of the pass gives to the key, and what all of them give it
        together (of heads that share it, their mean), times the length of the value.

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

    def interval(self) -> Activations:
        """The rows of the interval in progress, which one pass wrote that the memory turned."""
        rows, scaling = self._running.rows, self.rotary.scaling
        free = torch.stack([layer.free for layer in self.layers]) / scaling
        values = torch.stack([head.copied(rows)[1] for head in self._heads()])
        return Activations(free, values.view(free.shape))

    def finish_interval(self, sink: Activations | None, others: Activations | None) -> None:
        """Let go of the interval in progress, but for what becomes memory of it, the latter rounded."""
        self.forget_interval()
        if sink is not None:
            self.append(sink)
        if others is not None:
            self.append(self._rounded(others))

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

    def skip(self, rows: int, places: int) -> None:
        """Take places for rows that are elsewhere: what follows stands where it would if they were here."""
        self._segments.append(_Segment(rows, places, None))

    def let_go(self, part: range) -> None:
        """Let go of the rows of what became memory within some places, which stay taken; there must be no interval in
        progress. What was marked before cannot be gone back to.
        """
        segments, start = list[_Segment](), 0
        first, gone = ([[0] * len(layer.heads) for layer in self._layers] for _ in range(2))
        for segment in self._segments:
            within = part.start <= start and start + segment.span <= part.stop
            if segment.counts is not None and (within or start < part.start):
                for sums, counts in zip(gone if within else first, segment.counts, strict=True):
                    sums[:] = map(add, sums, counts)
            segments.append(replace(segment, counts=None) if within else segment)
            start += segment.span
        for layer, firsts, rows in zip(self._layers, first, gone, strict=True):
            for head, before, count in zip(layer.heads, firsts, rows, strict=True):
                head.cut(before, count)
        self._segments = segments

    def extend(self, other: "RaggedMemory", parts: Sequence[range]) -> None:
        """Place after this memory what stands in parts of another one, each closing up to the one before.

        Args:
            parts: of its places, in their order, disjoint.

        Raises:
            ValueError: if rows in these parts are not there.
        """
        parts = [part for part in parts if part]
        if not parts:
            return  # also of a memory that has nothing yet, not even heads
        other._check_held(parts)
        counts, start = [], self.places
        bounds = torch.tensor([[part.start, part.stop] for part in parts], device=self._device).view(-1, 2)
        for layer, theirs in zip(self._layers, other._layers, strict=True):
            layer.begin(len(theirs.heads), theirs.heads[0].free)
            before = [head.count for head in layer.heads]
            for head, their in zip(layer.heads, theirs.heads, strict=True):
                end = start
                for part, (first, last) in zip(parts, torch.searchsorted(their.places, bounds).tolist(), strict=True):
                    places = their.places[first:last] + (end - part.start)
                    head.keep(their.free[first:last], their.values[first:last], places)
                    end += len(part)
            counts.append([head.count - rows for head, rows in zip(layer.heads, before, strict=True)])
        size = round(sum(map(sum, counts)) / sum(map(len, counts)))
        self._segments.append(_Segment(size, sum(map(len, parts)), counts))

    def truncate(self, size: int) -> None:
        """Forget the rows from `size` on, which is where a finished interval ended."""
        self.forget_interval()
        while self.size > size:
            self._drop()

    def mark(self) -> RaggedMark:
        """Remember the present state, for `rewind`; copies nothing but the interval in progress."""
        rows = self._running.rows
        interval = [[head.copied(rows) for head in layer.heads] for layer in self._layers if rows]
        return RaggedMark(len(self._segments), self.scale, rows, interval, [layer.free for layer in self._layers])

    def rewind(self, mark: RaggedMark) -> None:
        """Go back to where the memory was, to the bit, from anywhere after it."""
        while len(self._segments) > mark.segments:
            self._drop()
        self._scale_to(mark.scale)
        self._running.rows = mark.rows
        for layer, free in zip(self._layers, mark.free, strict=True):
            layer.free = free
        for layer, heads in zip(self._layers, mark.interval, strict=False):
            for head, both in zip(layer.heads, heads, strict=True):
                head.write(head.count, both)

    @property
    def _layers(self) -> Sequence[RaggedLayer]:
        return self.layers

    def _heads(self) -> Iterator[Head]:
        """All of them, layer by layer."""
        for layer in self._layers:
            yield from layer.heads

    def _check_held(self, parts: Sequence[range]) -> None:
        start = 0
        for segment in self._segments:
            end = start + segment.span
            if segment.counts is None and any(part.start < end and start < part.stop for part in parts):
                raise ValueError(f"the rows of places {start} to {end} have been let go of, or were never loaded")
            start = end

    def _drop(self) -> None:
        segment = self._segments.pop()
        if segment.counts is None:
            return
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

"""The memory of one sequence: `[sink | beacons | interval in progress]` in one buffer a layer.

A transformers `Cache`: decoder layers hand it their new keys (already rotated) and attend to what it returns. Buffers
grow by doubling; when an interval ends its condensed rows are moved after the older memory, which stays as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from activation_beacon.cache import Cache, CacheLayer
from activation_beacon.rotary import Rotary, position_tensor

FIRST_CAPACITY = 256


@dataclass(frozen=True)
class Activations:
    """Keys (position-free) and values of some rows, each (layers, kv_heads, rows, head_dim)."""

    keys: Tensor
    values: Tensor

    def part(self, first: int, end: int | None) -> "Activations":
        """Rows `first` to `end`, as views."""
        return Activations(self.keys[:, :, first:end], self.values[:, :, first:end])

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "Activations":
        """The same, there and, if one is named, of that type."""
        return Activations(self.keys.to(device, dtype), self.values.to(device, dtype))

    @property
    def counts(self) -> Tensor:
        """(layers, kv_heads) how many rows each head has."""
        return torch.full(self.keys.shape[:2], self.size)

    @property
    def size(self) -> int:
        """Rows of each head (on average where each has its own number)."""
        return self.keys.shape[2]

    @property
    def span(self) -> int:
        """Places that they take in a memory; with beacons, one for each row."""
        return self.size

    def heads(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The rows of each head, layer by layer: keys and values (rows, head_dim), and the rows' places (rows)."""
        places = torch.arange(self.size, device=self.keys.device)
        for keys, values in zip(self.keys.flatten(0, 1), self.values.flatten(0, 1), strict=True):
            yield keys, values, places


def joined(parts: Sequence[Activations]) -> Activations:
    """All of them, one after another."""
    return Activations(torch.cat([part.keys for part in parts], 2), torch.cat([part.values for part in parts], 2))


class _Layer(CacheLayer):
    """One layer's buffers; rows at and beyond the memory's `size` are free.

    Args:
        positions: the memory's own list, one for each row. (Not the memory itself: gigabytes in a cycle of references
            would wait for the garbage collector.)
    """

    def __init__(self, positions: list[int]) -> None:
        super().__init__()
        self._positions = positions
        # Position-free keys (1, kv_heads, rows, head_dim) of the finished intervals, kept where frequencies grow:
        # turning the rotated ones again and again would add up their rounding.
        self.free: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = key_states.new_empty(*key_states.shape[:2], 0, key_states.shape[3])
        self.values = value_states.new_empty(*value_states.shape[:2], 0, value_states.shape[3])
        self.is_initialized = True

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows in all. Capacities are powers of two, whatever way the memory was filled."""
        if self.keys.shape[2] >= rows:
            return
        capacity = max(FIRST_CAPACITY, 1 << (rows - 1).bit_length())
        for name in ("keys", "values"):
            old = getattr(self, name)
            grown = old.new_empty(*old.shape[:2], capacity, old.shape[3])
            grown[:, :, : len(self._positions)] = old[:, :, : len(self._positions)]
            setattr(self, name, grown)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write (batch, kv_heads, new, head_dim) after the memory; return all rows that the pass may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        size = len(self._positions)
        end = size + key_states.shape[2]
        self.reserve(end)
        # Slicing by brackets takes three times as long, in decoding a tenth of all.
        self.keys.narrow(2, size, end - size).copy_(key_states)
        self.values.narrow(2, size, end - size).copy_(value_states)
        return self.keys.narrow(2, 0, end), self.values.narrow(2, 0, end)

    def get_seq_length(self) -> int:
        return len(self._positions)


@dataclass(frozen=True)
class MemoryMark:
    """Where a memory was, see `SequenceMemory.mark`.

    Attributes:
        finished: rows of finished intervals.
        positions: of the rows of the interval in progress.
        rows: for each layer, keys (rotated as they were) and values of those, (1, kv_heads, rows, head_dim).
        length: of the sequence, in positions.
    """

    finished: int
    positions: list[int]
    rows: list[tuple[Tensor, Tensor]]
    length: int


class SequenceMemory(Cache):
    """Activations of one sequence (batch 1), keys rotated at their present positions.

    Several may share a rotary embedding whose frequencies grow: each remembers how long its own sequence is.

    Attributes:
        positions: the rotary position of each row that holds something; the running pass writes after them.
        length: how many positions the sequence has taken at its longest, which is what frequencies grow with.
        rounding: what storing does to condensed keys (position-free) and values, (…, head_dim); None if nothing. The
            memory then goes on with what it makes of them, as one that was loaded from disk does.
    """

    def __init__(self, layers: int, rotary: Rotary) -> None:
        self.positions: list[int] = []
        self.length = 0
        self.rounding: Callable[[Tensor], Tensor] | None = None
        self._rotary = rotary
        super().__init__(layers=[_Layer(self.positions) for _ in range(layers)])

    @property
    def rotary(self) -> Rotary:
        """The rotary embedding, with the frequencies of this sequence."""
        self._rotary.prepare(self.length)
        return self._rotary

    @property
    def size(self) -> int:
        """Rows that hold something; equally, the positions that they take."""
        return len(self.positions)

    @property
    def intact(self) -> bool:
        """True: none of its rows are let go of."""
        return True

    @property
    def counts(self) -> Tensor:
        """(layers, kv_heads) how many rows each head has, all the same; (layers, 0) before anything is read."""
        layer = self.layers[0]
        return torch.full((len(self.layers), layer.keys.shape[1] if layer.is_initialized else 0), self.size)

    def commit(self, positions: Sequence[int]) -> None:
        """Keep the rows that a pass has just written, at `positions`."""
        self.positions += positions

    def finish_interval(
        self, memory: int, sink: Sequence[int], condensed: Sequence[int], kept: Sequence[int]
    ) -> Activations:
        """Drop the interval after the first `memory` rows but for the named rows (counted from the interval's first).

        Args:
            sink, condensed: rows that become memory, in this order.
            kept: rows that open the next interval.

        Returns:
            What became memory: sink rows, then condensed ones, before `rounding`.
        """
        rotary = self.rotary
        rows = [memory + row for row in (*sink, *condensed, *kept)]
        old = position_tensor([self.positions[row] for row in rows], self._device)
        new = position_tensor(range(memory, memory + len(rows)), self._device)
        source = position_tensor(rows, self._device)
        remembered = len(sink) + len(condensed)
        free_keys, values = [], []
        for layer in self.layers:
            # Going through the position-free keys, rounded as they are stored, makes a memory that was loaded from disk
            # equal to this one bit for bit.
            free = rotary.unrotate(layer.keys[:, :, source], old)  # (1, kv_heads, rows, head_dim)
            value = layer.values[:, :, source]
            free_keys.append(free[0, :, :remembered])
            values.append(value[0, :, :remembered])
            free = self._rounded(free, len(sink), remembered)
            self._keep_free(layer, free[:, :, :remembered])
            layer.keys[:, :, memory : memory + len(rows)] = rotary.rotate(free, new)
            layer.values[:, :, memory : memory + len(rows)] = self._rounded(value, len(sink), remembered)
        self.positions[memory:] = range(memory, memory + len(rows))
        return Activations(torch.stack(free_keys), torch.stack(values))

    def append(self, activations: Activations, dtype: torch.dtype | None = None, expected: int = 0) -> None:
        """Place stored activations after the present rows, at the positions that follow.

        Args:
            dtype: of the memory; None takes theirs. Layer by layer, what is converted stays in the processor's cache.
            expected: rows there will be in the end, for which room is made at once.
        """
        rotary, size, end = self.rotary, self.size, self.size + activations.size
        positions = position_tensor(range(size, end), activations.keys.device)
        for index, layer in enumerate(self.layers):
            keys, values = activations.keys[index, None].to(dtype), activations.values[index, None]
            if not layer.is_initialized:
                layer.lazy_initialization(keys, values.to(dtype))
            layer.reserve(max(end, expected))
            self._keep_free(layer, keys)
            layer.keys[:, :, size:end] = rotary.rotate(keys, positions)
            layer.values[:, :, size:end] = values
        self.commit(range(size, end))

    def activations(self, first: int, end: int) -> Activations:
        """Rows `first` to `end`, position-free."""
        rotary, positions = self.rotary, position_tensor(self.positions[first:end], self._device)
        keys = [rotary.unrotate(layer.keys[0, :, first:end], positions) for layer in self.layers]
        return Activations(torch.stack(keys), torch.stack([layer.values[0, :, first:end] for layer in self.layers]))

    def truncate(self, size: int) -> None:
        """Forget the rows from `size` on, which is where a finished interval ended."""
        del self.positions[size:]
        for layer in self.layers:
            if layer.free is not None:
                layer.free = layer.free[:, :, :size]

    def forget(self, rows: int) -> None:
        """Forget the last rows, all of the interval in progress."""
        del self.positions[len(self.positions) - rows :]

    def mark(self, finished: int) -> MemoryMark:
        """Remember the present state, for `rewind`; copies nothing but the interval in progress.

        Args:
            finished: rows of finished intervals. Those stay where they are, whatever is read.
        """
        rows = [
            tuple(each[:, :, finished : self.size].clone() for each in (layer.keys, layer.values))
            for layer in self.layers
            if self.size > finished
        ]
        return MemoryMark(finished, self.positions[finished:], rows, self.length)

    def rewind(self, mark: MemoryMark) -> None:
        """Go back to where the memory was, to the bit, from anywhere after it."""
        del self.positions[mark.finished :]
        self.positions += mark.positions
        self._rotary.prepare(self.length)
        grew = self._rotary.prepare(mark.length)
        self.length = mark.length
        positions = position_tensor(range(mark.finished), self._device) if grew else None
        for layer in self.layers:
            if layer.free is not None:
                layer.free = layer.free[:, :, : mark.finished]
                if positions is not None:
                    layer.keys[:, :, : mark.finished] = self._rotary.rotate(layer.free, positions)
        for layer, (keys, values) in zip(self.layers, mark.rows, strict=False):
            layer.keys[:, :, mark.finished : self.size] = keys
            layer.values[:, :, mark.finished : self.size] = values

    def extend_positions(self, length: int) -> None:
        """Prepare the rotary embedding for a sequence of `length` positions; keys follow where its frequencies grow."""
        rotary = self.rotary
        if length <= self.length:
            return
        self.length = length
        old = Rotary(rotary.inv_freq, rotary.scaling) if rotary.grows else rotary
        if not rotary.prepare(length) or not self.size:
            return
        positions = position_tensor(self.positions, self._device)
        for layer in self.layers:
            free = old.unrotate(layer.keys[:, :, : self.size], positions)
            if layer.free is not None:
                free[:, :, : layer.free.shape[2]] = layer.free
            layer.keys[:, :, : self.size] = rotary.rotate(free, positions)

    def _rounded(self, rows: Tensor, first: int, end: int) -> Tensor:
        if self.rounding is None:
            return rows
        return torch.cat((rows[:, :, :first], self.rounding(rows[:, :, first:end]), rows[:, :, end:]), 2)

    def _keep_free(self, layer: _Layer, keys: Tensor) -> None:
        if self._rotary.grows:
            layer.free = keys if layer.free is None else torch.cat((layer.free, keys), 2)

    @property
    def _device(self) -> torch.device:
        return self._rotary.inv_freq.device

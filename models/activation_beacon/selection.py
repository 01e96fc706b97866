"""Selection: what condenses without a beacon, and without training.

An interval is read as it is, after the memory. Then the model is asked to say it again, and of the interval's rows
those stay that this draws on most: a row's score is the largest attention probability that any query gives it (KVzip,
arXiv 2505.23416) plus the sum of what all give it, times the length of its value. There is one budget for all layers
and heads of an interval, so each keeps its own number of rows. A row stands at its place in the text, however many rows
stay before it. Where the model's positions do not last, an interval is read after the sink and as much of the memory
as stands last, so that no place is shrunk and all intervals take as long (`benchmarks/README.md`, memory.py). What is
kept as it is, like a question, is read after all of the memory, its places shrunk by what that takes, or after what
`SelectingReader.recall` took of it. Of a text, nothing but its memory and one interval is ever held. With a scorer,
which predicts the scores, the interval is not said again (`activation_beacon.scorer`).

With all rows kept, this is full attention in the same passes, in our decoder to the bit unless threads share a product.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from activation_beacon.errors import ConfigError
from activation_beacon.installed import Installed
from activation_beacon.memory import Activations
from activation_beacon.ragged import RaggedMark, RaggedMemory
from activation_beacon.rotary import position_tensor
from activation_beacon.scorer import Scorer
from activation_beacon.selected import select_rows
from activation_beacon.sequence_reader import Hidden, SequenceReader

# Counts up when the same text would keep other rows.
VERSION = 3
# Places in an interval are stored in 16 bits.
LONGEST = 2**15 - 1
# What of a reader changes as it reads, its memory apart.
_STATE = ("sink", "_consumed", "_finished", "_ids", "_pieces", "_ratio", "_start", "_near", "_next", "_last")


@dataclass(frozen=True)
class Selection:
    """How rows are selected.

    Attributes:
        window: tokens in an interval.
        sink: tokens at the very beginning that stay in every head, like a prompt's opening.
        instruction: token ids that ask the model to say the interval again; its own tokens follow them.
        scorer: predicts what that would score, in its place; must fit the model.

    Raises:
        ConfigError: for values that cannot be.
    """

    window: int
    sink: int
    instruction: tuple[int, ...]
    scorer: Scorer | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.sink < self.window <= LONGEST:
            raise ConfigError(
                f"nothing can be selected from an interval of {self.window} tokens, {self.sink} of them the sink: it "
                f"must have more than the sink, and at most {LONGEST:,}"
            )

    def room(self, ratio: int) -> int:
        """Positions that reading an interval takes: asked to say it again, the model reads it twice."""
        again = ratio > 1 and self.scorer is None
        return 2 * self.window + len(self.instruction) if again else self.window


@dataclass(frozen=True)
class SelectionStep:
    """Some tokens, read; see `sequence_reader.Step`."""

    hidden: Tensor
    sink: Activations | None = None
    interval: Activations | None = None


@dataclass(frozen=True)
class SelectionMark:
    """Where a reader was, see `SelectingReader.mark`."""

    memory: RaggedMark
    near: RaggedMark | None
    state: Mapping[str, Any]


class SelectingReader(SequenceReader):
    """Reads one sequence, keeping of each interval one row in `ratio`, in any pieces.

    The memory does not depend on the pieces, to the bit: an interval that came in several is read once more when it is
    complete.

    Args:
        attached: the model; whether it has a beacon does not matter.
        ratio: 0 and 1 keep all rows.

    Attributes:
        observe: is shown an interval's rows and their scores, (layers, kv_heads, rows), before rows are selected.

    Raises:
        ConfigError: if an interval does not fit the model's positions.
    """

    def __init__(self, attached: Installed, selection: Selection, ratio: int) -> None:
        self._rows = RaggedMemory(attached.layers, attached.rotary)
        super().__init__(attached, self._rows)
        self.selection = selection
        self.observe: Callable[[Activations, Tensor], None] | None = None
        self.sink = 0
        self._positions = attached.positions
        if selection.room(2) > self._positions:
            raise ConfigError(
                f"asked to say an interval of {selection.window} tokens again, the model needs {selection.room(2):,} "
                f"positions, and has {self._positions:,}"
            )
        self._consumed, self._finished = 0, False
        # Of the interval in progress: its tokens, in how many pieces they came, its ratio, its first position, and what
        # it is read with: the memory, or what of it is near.
        self._ids: tuple[int, ...] = ()
        self._pieces, self._ratio, self._start = 0, ratio, 0
        self._near = self._rows
        self._next = ratio

    @property
    def memory(self) -> RaggedMemory:
        return self._rows

    @property
    def window(self) -> int:
        return self.selection.window

    @property
    def consumed(self) -> int:
        return self._consumed

    @property
    def room(self) -> int:
        return self.window - len(self._ids)

    @torch.inference_mode()
    def feed(self, ids: Sequence[int], hidden: Hidden = "all") -> Iterator[SelectionStep]:
        taken = 0
        while taken < len(ids):
            piece = ids[taken : taken + self.window - len(self._ids)]
            taken += len(piece)
            yield self._read(piece, self._wanted(hidden, taken == len(ids)))

    def condense_at(self, ratio: int) -> None:
        self._next = ratio

    @torch.inference_mode()
    def mark(self) -> SelectionMark:
        state = {name: getattr(self, name) for name in _STATE}
        return SelectionMark(self.memory.mark(), None if self._near is self.memory else self._near.mark(), state)

    @torch.inference_mode()
    def rewind(self, mark: SelectionMark) -> None:
        self.memory.rewind(mark.memory)
        for name, value in mark.state.items():
            setattr(self, name, value)
        if mark.near is not None:
            self._near.rewind(mark.near)

    def forget(self, tokens: int) -> None:
        left = len(self._ids) - tokens
        if left < 0:
            raise ValueError(f"{tokens} tokens cannot be forgotten: the interval in progress has {len(self._ids)}")
        self._near.forget(tokens)
        self._ids, self._consumed, self._last = self._ids[:left], self._consumed - tokens, None
        # The memory has keys without rotation of all of it: what is left is read anew, like several pieces.
        self._pieces = self._pieces + 1 if left else 0

    @torch.inference_mode()
    def load(self, activations: Activations, dtype: torch.dtype | None = None, expected: int = 0) -> None:
        self.memory.append(activations.to(activations.keys.device, dtype))

    @torch.inference_mode()
    def restore(self, *, tokens: int, sink: int, beacons: int, intervals: int, ratio: int) -> None:
        self._consumed += tokens
        self.sink += sink
        self._finished = self._finished or intervals > 0

    @torch.inference_mode()
    def place(self, other: "SelectingReader", ratio: int) -> None:
        self.memory.extend(other.memory, [range(other.sink, other.memory.places)])
        self._consumed += other.consumed
        self._finished = self._finished or other.consumed > 0

    @torch.inference_mode()
    def recall(self, other: "SelectingReader", parts: Sequence[range]) -> None:
        """Go on after some parts of what another reader has finished, each closing up to the one before; at the very
        beginning also after its sink.

        Only these are then read with: of a long text, most of which has nothing to do with what follows.

        Args:
            parts: of the tokens that it has read, after its sink, in their order, disjoint.
        """
        if not self._finished:
            self.sink, parts = other.sink, [range(other.sink), *parts]
        self.memory.extend(other.memory, parts)
        self._consumed += sum(map(len, parts))
        self._finished = True

    @torch.inference_mode()
    def skip(self, rows: int, tokens: int) -> None:
        """Leave out so many rows of so many tokens where `load` would place them: see `near`."""
        self.memory.skip(rows, tokens)

    def near(self, tokens: int) -> range:
        """Of a text of so many tokens, those of which, beside the sink, the memory is needed to read on."""
        return range(max(tokens - self._positions, 0), tokens)

    @torch.inference_mode()
    def let_go(self) -> None:
        if not self._ids and self.memory.held > self.sink + 2 * self._positions:
            self.memory.let_go(range(self.sink, self.near(self.memory.places).start))

    @torch.inference_mode()
    def end_interval(self) -> None:
        if self._ids:
            self._finish()

    def _read(self, ids: Sequence[int], wanted: bool) -> SelectionStep:
        if not self._ids:
            self._ratio = self._next
            self._near, self._start = self._before()
        hidden = self._run(ids, self._start + len(self._ids), turning=not self._ids, wanted=wanted)
        self._near.commit(len(ids))
        self._ids += tuple(ids)
        self._pieces += 1
        self._consumed += len(ids)
        self._last = hidden[-1] if wanted else None
        if len(self._ids) < self.window:
            return SelectionStep(hidden)
        return SelectionStep(hidden, *self._finish())

    def _before(self) -> tuple[RaggedMemory, int]:
        """What of the memory stands before the next interval, and where that then begins."""
        memory, room = self.memory, self._positions - self.selection.room(self._ratio)
        if self._ratio == 0 or memory.places <= room:
            return memory, memory.stand(room)
        near = RaggedMemory(self._attached.layers, self._attached.rotary)
        near.extend(memory, [range(self.sink), range(memory.places - (room - self.sink), memory.places)])
        return near, near.stand(room)

    def _run(self, ids: Sequence[int], position: int, *, turning: bool = False, wanted: bool = False) -> Tensor:
        """(tokens, hidden) last hidden states, if `wanted`.

        Args:
            turning: let the memory turn queries and keys, so that it has these without rotation exactly: to take off
                one that the model gave would round them.
        """
        device, memory = self._attached.device, self._near
        positions = position_tensor(range(position, position + len(ids)), device)
        memory.rotary  # noqa: B018  with the frequencies of this sequence, whoever has read meanwhile
        mask, given = memory.mask(positions if turning else None), positions * (0 if turning else 1)
        staying = None if wanted else position_tensor(range(len(ids)), device)
        return self._attached.run(position_tensor(ids, device)[None], given, memory, mask, staying=staying)[0]

    def _finish(self) -> tuple[Activations | None, Activations | None]:
        """Let the interval in progress become memory; what did."""
        ids, ratio, near = self._ids, self._ratio, self._near
        if self._pieces > 1:
            near.forget_interval()
            self._run(ids, self._start, turning=True)
            near.commit(len(ids))
        sink = 0 if self._finished else min(self.selection.sink, len(ids))
        rows = near.interval()
        front = rows.part(0, sink) if sink else None
        others = rows.part(sink, None) if sink < len(ids) else None
        if others is not None and ratio > 1:
            scores = self._scores(others, sink)
            if self.observe is not None:
                self.observe(others, scores)
            others = select_rows(others, best(scores, max(1, others.size // ratio)))
        self._ids, self._pieces, self._finished, self._near = (), 0, True, self.memory
        self.sink += sink
        self.memory.finish_interval(front, others)
        return front, others

    def _scores(self, rows: Activations, first: int) -> Tensor:
        """(layers, kv_heads, rows) scores of the rows of the interval in progress from `first` on."""
        if self.selection.scorer is not None:
            return self.selection.scorer.scores(rows)
        again = [*self.selection.instruction, *self._ids]
        # Not the hidden states are wanted, but the attention of every layer.
        return self._near.scores(first, lambda: self._run(again, self._start + len(self._ids), wanted=True))


def best(scores: Tensor, rows: int) -> Tensor:
    """(layers, kv_heads, …) bool: the `rows` best of each head on average; of equal scores, the first ones'."""
    flat = scores.flatten()
    order = flat.sort(descending=True, stable=True).indices[: rows * scores.shape[0] * scores.shape[1]]
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[order] = True
    return chosen.view_as(scores)

"""Reading: runs planned passes on a model, keeps the memory, and hands out what each finished interval condensed to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from activation_beacon.errors import ConfigError
from activation_beacon.installed import Installed
from activation_beacon.masks import pass_mask
from activation_beacon.memory import Activations, MemoryMark, SequenceMemory
from activation_beacon.planner import Pass, Planner
from activation_beacon.ratios import Fixed
from activation_beacon.rotary import position_tensor
from activation_beacon.sequence_reader import Hidden, SequenceReader
from activation_beacon.static_pass import StaticPass


@dataclass(frozen=True)
class Step:
    """One forward pass, done.

    Attributes:
        plan: what went in.
        hidden: (tokens, hidden) last hidden states of the ordinary tokens; (0, hidden) if these were not wanted.
        condensed: what became memory, if the pass completed an interval: sink rows first.
    """

    plan: Pass
    hidden: Tensor
    condensed: Activations | None

    @property
    def sink(self) -> Activations | None:
        """The sink's part of what became memory: there is one only with the first interval."""
        rows = len(self.plan.sink)
        return self.condensed.part(0, rows) if self.condensed is not None and rows else None

    @property
    def interval(self) -> Activations | None:
        """What became memory, without the sink."""
        return self.condensed.part(len(self.plan.sink), None) if self.condensed is not None else None


@dataclass(frozen=True)
class Mark:
    """Where a reader was; for `Reader.rewind`, as often as one likes."""

    planner: Planner
    memory: MemoryMark
    last: Tensor | None


class Reader(SequenceReader):
    """Reads one sequence with an installed beacon, in any pieces (paper, section 3.1; `docs/FORMAT.md` 4).

    Several may read in turn. (Where frequencies grow, each has those of its own sequence; in the reference they go on
    growing from sequence to sequence.)

    Args:
        attached: the model with its beacon.
        planner: plans this sequence.
        static: whether tokens that are read one by one are read with static shapes, see `StaticPass`.

    Raises:
        ConfigError: for static shapes with frequencies that grow.
    """

    def __init__(self, attached: Installed, planner: Planner, *, static: bool = False) -> None:
        self._rows = SequenceMemory(attached.layers, attached.rotary)
        super().__init__(attached, self._rows)
        self.planner = planner
        if static and attached.rotary.grows:
            raise ConfigError("static shapes need rotary frequencies that stay as they are: read without")
        captured = attached.device.type == "cuda"
        self._static = StaticPass(attached, self._rows, captured=captured) if static else None

    @property
    def memory(self) -> SequenceMemory:
        return self._rows

    @property
    def window(self) -> int:
        return self.planner.config.window

    @property
    def consumed(self) -> int:
        return self.planner.consumed

    @property
    def room(self) -> int:
        return self.planner.room

    @torch.inference_mode()
    def feed(self, ids: Sequence[int], hidden: Hidden = "all") -> Iterator[Step]:
        taken = 0
        while taken < len(ids):
            plan = self.planner.take(len(ids) - taken)
            first, taken = taken, taken + plan.tokens
            yield self._run(plan, ids[first:taken], self._wanted(hidden, taken == len(ids)))

    def condense_at(self, ratio: int) -> None:
        self.planner.chooser = Fixed(ratio)

    @torch.inference_mode()
    def mark(self) -> Mark:
        return Mark(self.planner.copy(), self.memory.mark(self.planner.memory), self._last)

    @torch.inference_mode()
    def rewind(self, mark: Mark) -> None:
        self.planner = mark.planner.copy()
        self.memory.rewind(mark.memory)
        self._last = mark.last

    def forget(self, tokens: int) -> None:
        self.memory.forget(self.planner.forget(tokens))
        self._last = None

    @torch.inference_mode()
    def load(self, activations: Activations, dtype: torch.dtype | None = None, expected: int = 0) -> None:
        self.memory.append(activations, dtype, expected)

    @torch.inference_mode()
    def restore(self, *, tokens: int, sink: int, beacons: int, intervals: int, ratio: int) -> None:
        self.planner.restore(tokens=tokens, sink=sink, beacons=beacons, intervals=intervals)
        if intervals:
            # Frequencies that grow had grown with the last interval as it was before it was condensed.
            self.memory.extend_positions(
                self.memory.size - (sink if intervals == 1 else 0) + (self.planner.config.window if ratio else 0)
            )

    @torch.inference_mode()
    def place(self, other: "Reader", ratio: int) -> None:
        tokens, sink, size = other.consumed, other.planner.sink, other.memory.size
        self.load(other.memory.activations(sink, size))
        self.restore(tokens=tokens, sink=0, beacons=size - sink, intervals=tokens // self.window, ratio=ratio)

    def let_go(self) -> None:
        """Does nothing: an interval is read after all beacons."""

    @torch.inference_mode()
    def end_interval(self) -> None:
        """End the interval in progress where it is, see `Planner.end_interval`: another text follows."""
        if self.planner.at_boundary:
            return
        memory = self.planner.memory
        sink, condensed = self.planner.end_interval()
        self.memory.finish_interval(memory, sink, condensed, ())

    def _run(self, plan: Pass, ids: Sequence[int], wanted: bool) -> Step:
        device, positions = self._attached.device, [entry.position for entry in plan.entries]
        tokens, raw = iter(ids), plan.raw_rows
        beacons = [row for row, entry in enumerate(plan.entries) if entry.is_beacon]
        self.memory.extend_positions(plan.length)
        if self._static is not None and len(positions) == 1 and not beacons and plan.causal and self.memory.size:
            hidden = self._static.read(ids[0], positions[0])[None]
        else:
            hidden = self._attached.run(
                # A beacon holds a place, whose embedding is its own.
                position_tensor([0 if entry.is_beacon else next(tokens) for entry in plan.entries], device)[None],
                position_tensor(positions, device),
                self.memory,
                pass_mask(plan, device),
                position_tensor(beacons, device) if beacons else None,
                None if wanted else position_tensor(plan.staying, device),
            )[0]
        self.memory.commit(positions)
        condensed = None
        if plan.full:
            condensed = self.memory.finish_interval(plan.memory, plan.sink, plan.condensed, plan.kept)
        if beacons and wanted:
            hidden = hidden[raw]
        self._last = hidden[-1] if wanted else None
        return Step(plan, hidden, condensed)

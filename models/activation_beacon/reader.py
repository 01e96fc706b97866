"""Reading: runs planned passes on a model, keeps the memory, and hands out what each finished interval condensed to."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.architecture import decoder_of, layers_of
from activation_beacon.linear import BeaconRows
from activation_beacon.masks import pass_mask
from activation_beacon.memory import Activations, Memory
from activation_beacon.planner import BEACON, Entry, Pass, Planner
from activation_beacon.plugin import Beacon, embed
from activation_beacon.rotary import Rotary, position_tensor


@dataclass(frozen=True)
class Step:
    """One forward pass, done.

    Attributes:
        plan: what went in.
        hidden: (tokens, hidden) last hidden states of the ordinary tokens.
        condensed: what became memory, if the pass completed an interval: sink rows first.
    """

    plan: Pass
    hidden: Tensor
    condensed: Activations | None


class Reader:
    """Reads one sequence with an installed beacon, in any pieces (paper, section 3.1; `FORMAT.md` 4).

    Args:
        model: a transformers causal LM in eval mode, with `beacon` installed.
        beacon: the beacon.
        rows: what `install` returned.
        rotary: the model's rotary embedding; must be the one that the decoder uses. It is reset: one whose frequencies
            grow serves one sequence at a time. (In the reference it goes on growing from sequence to sequence.)
        planner: plans this sequence.
    """

    def __init__(self, model: nn.Module, beacon: Beacon, rows: BeaconRows, rotary: Rotary, planner: Planner) -> None:
        self.model, self.beacon, self.planner = model, beacon, planner
        self._rows = rows
        self._decoder = decoder_of(model)
        config: Any = model.config
        self._always_masked = getattr(config, "sliding_window", None) is not None
        rotary.reset()
        self.memory = Memory(len(layers_of(self._decoder)), rotary)
        self._last: Tensor | None = None

    @torch.inference_mode()
    def feed(self, ids: Sequence[int]) -> Iterator[Step]:
        """Read further tokens, yielding after every pass. Exhaust it: what is not iterated is not read."""
        taken = 0
        while taken < len(ids):
            plan = self.planner.take(len(ids) - taken)
            step = self._run(plan, ids[taken : taken + plan.tokens])
            taken += plan.tokens
            yield step

    def read(self, ids: Sequence[int]) -> Tensor:
        """Read further tokens; logits (vocabulary) of what follows the last, in float32."""
        for _step in self.feed(ids):
            pass
        return self.logits()

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Logits (vocabulary) behind the last token read, in float32."""
        if self._last is None:
            raise ValueError("nothing has been read yet")
        head = self.model.get_output_embeddings()  # type: ignore[operator]  # a PreTrainedModel method
        logits: Tensor = head(self._last).float()
        return logits

    @torch.inference_mode()
    def load(self, activations: Activations) -> None:
        """Place condensed activations behind the memory; then tell what they are with `restore`."""
        self.memory.append(activations)

    @torch.inference_mode()
    def restore(self, *, tokens: int, sink: int, beacons: int, intervals: int, ratio: int) -> None:
        """Go on behind `intervals` further finished intervals whose memory has been loaded, the last one at `ratio`."""
        self.planner.restore(tokens=tokens, sink=sink, beacons=beacons, intervals=intervals)
        if intervals:
            # Frequencies that grow had grown with the last interval as it was before it was condensed.
            self.memory.extend_positions(
                self.memory.size - (sink if intervals == 1 else 0) + (self.planner.config.window if ratio else 0)
            )

    @torch.inference_mode()
    def end_interval(self) -> None:
        """End the interval in progress where it is, see `Planner.end_interval`: another text follows."""
        if self.planner.at_boundary:
            return
        memory = self.planner.memory
        sink, condensed = self.planner.end_interval()
        self.memory.finish_interval(memory, sink, condensed, ())

    def mark(self) -> object:
        """Where this reader is."""
        return copy.deepcopy(self.planner), self.memory.size

    def rewind(self, mark: Any) -> None:
        """Go back to `mark`."""
        self.planner = copy.deepcopy(mark[0])
        self.memory.truncate(mark[1])

    def _run(self, plan: Pass, ids: Sequence[int]) -> Step:
        device = self.memory.rotary.inv_freq.device
        positions = [entry.position for entry in plan.entries]
        length = self.memory.size + len(positions)
        self.memory.extend_positions(max(length, max(positions) + 1))
        tokens = position_tensor(_layout(plan.entries, ids), device)
        beacons = [row for row, entry in enumerate(plan.entries) if entry.is_beacon]
        rows = position_tensor(beacons, device) if beacons else None
        self._rows.rows = rows
        try:
            output = self._decoder(
                inputs_embeds=embed(self.model, self.beacon, tokens[None], rows),
                position_ids=position_tensor(positions, device)[None],
                attention_mask=pass_mask(plan, device, always=self._always_masked),
                past_key_values=self.memory,
                use_cache=True,
            )
        finally:
            self._rows.rows = None
        self.memory.commit(positions)
        condensed = None
        if plan.full:
            condensed = self.memory.finish_interval(plan.memory, plan.sink, plan.condensed, plan.kept)
        hidden: Tensor = output.last_hidden_state[0]
        if beacons:
            hidden = hidden[[row for row, entry in enumerate(plan.entries) if not entry.is_beacon]]
        self._last = hidden[-1]
        return Step(plan, hidden, condensed)


def _layout(entries: Sequence[Entry], ids: Sequence[int]) -> list[int]:
    """Token ids of a pass; beacons hold a place (0) whose embedding is replaced."""
    tokens = iter(ids)
    return [0 if entry.raw == BEACON else next(tokens) for entry in entries]

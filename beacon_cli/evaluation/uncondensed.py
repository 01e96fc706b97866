"""The LLM alone reads a text: all of it, or through a sink and a sliding window.

The latter as StreamingLLM (arXiv 2309.17453) does: the first few tokens and the last ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from activation_beacon.memory import MemoryMark, SequenceMemory
from activation_beacon.rotary import Rotary, position_tensor
from beacon_cli.checkpoints.engine import Engine

# The tokens that are never let go.
SINK = 4
# Tokens of a pass: fewer with a window, where each is given a sink of its own.
STEP, WINDOW_STEP = 512, 256


class _SinkMemory(SequenceMemory):
    """A memory that can hand out its sink several times, at other positions, in place of all rows before `first`.

    Attributes:
        first: the row that follows the sinks.
        places: positions (sinks * SINK) of the sinks handed out; None hands out all rows as they are.
    """

    def __init__(self, layers: int, rotary: Rotary) -> None:
        super().__init__(layers, rotary)
        self.first = 0
        self.places: Tensor | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if self.places is None:
            return keys, values
        sinks = len(self.places) // SINK
        rotary = self.rotary
        free = rotary.unrotate(keys[:, :, :SINK], position_tensor(range(SINK), keys.device))
        moved = rotary.rotate(free.repeat(1, 1, sinks, 1), self.places)
        repeated = values[:, :, :SINK].repeat(1, 1, sinks, 1)
        return torch.cat((moved, keys[:, :, self.first :]), 2), torch.cat((repeated, values[:, :, self.first :]), 2)


class Uncondensed:
    """A text as far as the LLM alone has read it, token after token.

    With a window, positions are those within the cache. Tokens run several in a pass all the same: rotary attention
    knows distances only, which within the window are those in the text, and each token is given a sink of its own at
    the distance that it would have, the window being full.

    Args:
        window: rows that sink and window have together, the running token's own included; None keeps everything.
    """

    def __init__(self, engine: Engine, window: int | None = None) -> None:
        self._attached, self._window = engine.attached, window
        self._memory = _SinkMemory(engine.attached.layers, engine.attached.rotary)
        self._mark: MemoryMark | None = None

    @property
    def rows(self) -> int:
        """Rows of key/value memory that the text takes."""
        return self._memory.size if self._window is None else min(self._memory.size, self._window)

    @torch.inference_mode()
    def feed(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Read on; the tokens' last hidden states (tokens, hidden), pass by pass. Exhaust it."""
        step = STEP if self._window is None else WINDOW_STEP
        for first in range(0, len(ids), step):
            yield self._run(ids[first : first + step])

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Tensor:
        """Read on; logits (vocabulary) of what follows the last token, in float32."""
        for hidden in self.feed(ids):
            last = hidden[-1]
        return self._attached.logits(last)

    @torch.inference_mode()
    def mark(self) -> None:
        """Remember this place, for `rewind`; copies the rows that reading on may change."""
        stay = self._window is None and not self._attached.rotary.grows
        self._mark = self._memory.mark(self._memory.size if stay else 0)

    @torch.inference_mode()
    def rewind(self) -> None:
        """Go back to the marked place, as often as one likes."""
        if self._mark is not None:
            self._memory.rewind(self._mark)

    def _run(self, ids: Sequence[int]) -> Tensor:
        """One pass: last hidden states (tokens, hidden)."""
        memory, device, window = self._memory, self._attached.device, self._window
        if window is not None:
            self._drop_old_rows(window, len(ids))
        positions = range(memory.size, memory.size + len(ids))
        memory.extend_positions(positions.stop if window is None else min(positions.stop, window))
        mask = None if window is None else self._mask(window, positions)
        where = position_tensor(positions, device)
        hidden = self._attached.run(position_tensor(ids, device)[None], where, memory, mask)
        memory.commit(positions)
        return hidden[0]

    def _drop_old_rows(self, window: int, coming: int) -> None:
        """Let go of rows that no token sees any more; they stay in the buffer until it is worth moving the others."""
        memory, seen = self._memory, window - SINK - 1
        if memory.size >= window and memory.size + coming > 2 * window:
            memory.finish_interval(SINK, (), (), range(memory.size - SINK - seen, memory.size - SINK))

    def _mask(self, window: int, positions: range) -> Tensor | None:
        """(1, 1, tokens, rows) who sees what of the rows that the memory hands out, which this decides, too.

        None if that is everything before.
        """
        memory, device = self._memory, self._attached.device
        if positions.stop <= window:
            memory.first, memory.places = 0, None
            return None
        rows = torch.arange(positions.start, positions.stop, device=device)[:, None]
        recent = window - SINK
        memory.first = max(SINK, positions.start - (recent - 1))
        sink = torch.arange(SINK, device=device)
        memory.places = ((rows - window + 1).clamp(min=0) + sink).flatten()
        own = torch.eye(len(positions), dtype=torch.bool, device=device)[..., None] & (sink <= rows)[:, None]
        columns = torch.arange(memory.first, positions.stop, device=device)
        return torch.cat((own.flatten(1), (columns <= rows) & (columns > rows - recent)), 1)[None, None]

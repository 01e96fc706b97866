"""A sink with a sliding window, as StreamingLLM (arXiv 2309.17453) reads: the first few tokens and the last ones."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from activation_beacon.memory import SequenceMemory
from activation_beacon.rotary import Rotary, position_tensor
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.evaluation.methods import Method, Prompt, running_losses
from beacon_cli.evaluation.samples import Sample
from beacon_cli.evaluation.sequences import Reading, duplicate

# The tokens that are never let go, and those of a pass.
SINK = 4
STEP = 256


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
        free = self.rotary.unrotate(keys[:, :, :SINK], position_tensor(range(SINK), keys.device))
        moved = self.rotary.rotate(free.repeat(1, 1, sinks, 1), self.places)
        repeated = values[:, :, :SINK].repeat(1, 1, sinks, 1)
        return torch.cat((moved, keys[:, :, self.first :]), 2), torch.cat((repeated, values[:, :, self.first :]), 2)


class Stream:
    """A text read token after token with a cache of `window` rows: the sink, and the last ones, with the token's own.

    Positions are those within the cache. Tokens run several in a pass all the same: rotary attention knows distances
    only, which within the window are those in the text, and each token is given a sink of its own at the distance that
    it would have, the window being full.
    """

    step = STEP

    def __init__(self, engine: Engine, window: int) -> None:
        self._engine, self._window = engine, window
        self._memory = _SinkMemory(engine.attached.layers, engine.attached.rotary)

    @property
    def rows(self) -> int:
        return min(self._memory.size, self._window)

    @torch.inference_mode()
    def feed(self, ids: Sequence[int]) -> Iterator[Tensor]:
        for first in range(0, len(ids), STEP):
            yield self._run(ids[first : first + STEP])

    def fork(self) -> "Stream":
        twin: Stream = duplicate(self, self._engine)
        return twin

    def _run(self, ids: Sequence[int]) -> Tensor:
        memory, device, window = self._memory, self._engine.device, self._window
        recent = window - SINK
        if memory.size >= window and memory.size + len(ids) > 2 * window:
            # Old rows stay in the buffer, unseen, until it is worth moving the others.
            memory.finish_interval(SINK, (), (), range(memory.size - SINK - (recent - 1), memory.size - SINK))
        size, end = memory.size, memory.size + len(ids)
        memory.extend_positions(min(end, window))
        rows, columns = torch.arange(size, end, device=device)[:, None], torch.arange(end, device=device)
        if end <= window:
            memory.first, memory.places = 0, None
            mask = None
        else:
            memory.first = max(SINK, size - (recent - 1))
            sink = torch.arange(SINK, device=device)
            memory.places = ((rows - window + 1).clamp(min=0) + sink).flatten()
            own = torch.eye(len(ids), dtype=torch.bool, device=device)[..., None] & (sink <= rows)[:, None]
            columns = columns[memory.first :]
            mask = torch.cat((own.flatten(1), (columns <= rows) & (columns > rows - recent)), 1)[None, None]
        positions = range(size, end)
        hidden = self._engine.attached.run(
            position_tensor(ids, device)[None], position_tensor(positions, device), memory, mask
        )
        memory.commit(positions)
        return hidden[0]


class Streaming(Method):
    """A sink and a sliding window.

    Args:
        window: rows of both together; None takes the model's context.
    """

    reads = "streaming"

    def __init__(self, engine: Engine, frame: Frame, window: int | None = None) -> None:
        super().__init__("streaming", engine, frame)
        self._window = window or engine.source.context
        # A layer sees a window's tokens, which saw a window's in the layer below: what lies further back than all of
        # them together changes nothing, unless by the frequencies having grown while it was read.
        self._reach = inf if engine.attached.rotary.grows else SINK + engine.attached.layers * (self._window - SINK)

    def start(self, ratio: int) -> Reading:
        return Stream(self.engine, self._window)

    def prompt(self, sample: Sample, room: int) -> Prompt:
        document = self._document(sample)
        unseen = len(document) - self._reach
        if unseen > 0:
            del document[SINK : SINK + int(unseen)]
        return Prompt(document, self._request(sample))

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        return running_losses(self.engine, self.start(0), ids, self.frame.opening)

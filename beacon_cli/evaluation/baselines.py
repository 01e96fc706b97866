"""The same LLM without a beacon: full attention up to its context, and to a text cut to fit."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from activation_beacon.memory import SequenceMemory
from activation_beacon.rotary import position_tensor
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.evaluation.methods import DoesNotFitError, Method, Prompt, running_losses
from beacon_cli.evaluation.samples import Sample
from beacon_cli.evaluation.sequences import Reading, duplicate

# Tokens of a pass.
STEP = 512


class Plain:
    """The model alone."""

    step = STEP

    def __init__(self, engine: Engine) -> None:
        self._engine, self._attached = engine, engine.attached
        self._memory = SequenceMemory(engine.attached.layers, engine.attached.rotary)

    @property
    def rows(self) -> int:
        return self._memory.size

    @torch.inference_mode()
    def feed(self, ids: Sequence[int]) -> Iterator[Tensor]:
        for first in range(0, len(ids), STEP):
            yield self._run(ids[first : first + STEP])

    def fork(self) -> "Plain":
        twin: Plain = duplicate(self, self._engine)
        return twin

    def _run(self, ids: Sequence[int]) -> Tensor:
        memory, device = self._memory, self._engine.device
        end = memory.size + len(ids)
        memory.extend_positions(end)
        positions = range(memory.size, end)
        hidden = self._attached.run(position_tensor(ids, device)[None], position_tensor(positions, device), memory)
        memory.commit(positions)
        return hidden[0]


class Full(Method):
    """Full attention: what does not fit the model's context is not read at all."""

    def __init__(self, engine: Engine, frame: Frame) -> None:
        super().__init__("full", engine, frame)

    def start(self, ratio: int) -> Reading:
        return Plain(self.engine)

    def prompt(self, sample: Sample, room: int) -> Prompt:
        document, request = self._document(sample), self._request(sample)
        needed, context = len(document) + len(request) + room, self.engine.source.context
        if needed > context:
            raise DoesNotFitError(f"needs {needed:,} positions of {context:,}")
        return Prompt(document, request)

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        opening = self.frame.opening
        most = self.engine.source.context - len(opening) + 1  # the last one is predicted, not read
        return running_losses(self.engine, self.start(0), ids[:most], opening)


class Truncated(Method):
    """Full attention to the beginning and the end of a text: its middle is cut out until the rest fits.

    A loss has no end to keep: there, every token is predicted from the last tokens before it, at least half a context.
    """

    def __init__(self, engine: Engine, frame: Frame) -> None:
        super().__init__("truncated", engine, frame)

    def start(self, ratio: int) -> Reading:
        return Plain(self.engine)

    def prompt(self, sample: Sample, room: int) -> Prompt:
        request, opening, ids = self._request(sample), list(self.frame.opening), sample.ids
        left = self.engine.source.context - len(opening) - len(request) - room
        if left < 2:
            raise DoesNotFitError("the question alone fills the context")
        if len(ids) > left:
            ids = [*ids[: left // 2], *ids[len(ids) - (left - left // 2) :]]
        return Prompt([*opening, *ids], request)

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        opening = self.frame.opening
        window = self.engine.source.context - len(opening) + 1
        done, end = 1, 0
        while end < len(ids):
            end = min(len(ids), done + (window // 2 if end else window - 1))
            first = max(0, end - window)
            scored = torch.cat(list(running_losses(self.engine, self.start(0), ids[first:end], opening)))
            yield scored[done - first - 1 :]
            done = end

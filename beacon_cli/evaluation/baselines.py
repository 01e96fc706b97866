"""The same LLM without a beacon: full attention up to its context, to a text cut to fit, and streaming."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from math import inf

import torch
from torch import Tensor

from beacon_cli.answering.decoding import pick
from beacon_cli.answering.prompts import question_text, template_for
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.errors import TooLongError
from beacon_cli.evaluation.methods import Method, Reply, running_losses
from beacon_cli.evaluation.samples import EvalSample
from beacon_cli.evaluation.uncondensed import SINK, Uncondensed


class Baseline(Method):
    """A way of reading with the LLM alone; decodes greedily.

    Args:
        window: see `Uncondensed`.
    """

    def __init__(self, name: str, engine: Engine, window: int | None = None) -> None:
        super().__init__(name, engine)
        self._window = window

    @abstractmethod
    def prompt(self, sample: EvalSample, room: int) -> tuple[list[int], list[int]]:
        """Token ids of the document, after the prompt's opening, and of the request that follows it.

        Args:
            room: positions to leave for the answer.

        Raises:
            TooLongError: if they do not fit.
        """

    def ask(self, sample: EvalSample, max_new_tokens: int) -> Reply:
        document, request = self.prompt(sample, max_new_tokens)
        reader = self._read(document)
        rows, tokenizer = reader.rows, self.engine.source.tokenizer
        ids: list[int] = []
        coming = request
        while len(ids) < max_new_tokens:
            token = pick(reader.read(coming), temperature=0.0)
            if token in tokenizer.eos_ids:
                break
            ids.append(token)
            coming = [token]
        return Reply(tokenizer.decode(ids).strip(), rows)

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        return running_losses(self.engine, Uncondensed(self.engine, self._window).feed, ids)

    def _read(self, document: list[int]) -> Uncondensed:
        """What has read the document and nothing else."""
        if self._latest is not None and self._latest[0] == document:
            reader: Uncondensed = self._latest[1]
            reader.rewind()
            return reader
        self.forget()
        reader = Uncondensed(self.engine, self._window)
        reader.read(document)
        reader.mark()
        self._latest = document, reader
        return reader

    def _whole(self, sample: EvalSample) -> tuple[list[int], list[int]]:
        source = self.engine.source
        request = source.tokenizer.encode(question_text(sample.question, template=template_for(source)))
        return [*source.frame.opening, *sample.ids], [*request, *source.frame.closing]


class Full(Baseline):
    """Full attention: what does not fit the model's context is not read at all."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("full", engine)

    def prompt(self, sample: EvalSample, room: int) -> tuple[list[int], list[int]]:
        document, request = self._whole(sample)
        needed, context = len(document) + len(request) + room, self.engine.source.context
        if needed > context:
            raise TooLongError(f"needs {needed:,} positions of {context:,}")
        return document, request

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        source = self.engine.source
        return super().losses(ids[: source.context - len(source.frame.opening) + 1])  # the last one is not read


class Truncated(Baseline):
    """Full attention to the beginning and the end of a text: its middle is cut out until the rest fits.

    A loss has no end to keep: there, every token is predicted from the last tokens before it, at least half a context.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__("truncated", engine)

    def prompt(self, sample: EvalSample, room: int) -> tuple[list[int], list[int]]:
        document, request = self._whole(sample)
        opening = len(self.engine.source.frame.opening)
        left = self.engine.source.context - opening - len(request) - room
        if left < 2:
            raise TooLongError("the question alone fills the context")
        if len(sample.ids) > left:
            del document[opening + left // 2 : len(document) - (left - left // 2)]
        return document, request

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        window = self.engine.source.context - len(self.engine.source.frame.opening) + 1
        done, end = 1, 0
        while end < len(ids):
            end = min(len(ids), done + (window // 2 if end else window - 1))
            first = max(0, end - window)
            yield torch.cat(list(super().losses(ids[first:end])))[done - first - 1 :]
            done = end


class Streaming(Baseline):
    """A sink and a sliding window.

    Args:
        window: rows of both together; None takes the model's context.
    """

    def __init__(self, engine: Engine, window: int | None = None) -> None:
        window = window or engine.source.context
        super().__init__("streaming", engine, window)
        # A layer sees a window's tokens, which saw a window's in the layer below: what lies further back than all of
        # them together changes nothing, unless by the frequencies having grown while it was read.
        grows, layers = engine.attached.rotary.grows, engine.attached.layers
        self._reach = inf if grows else SINK + layers * (window - SINK)

    def prompt(self, sample: EvalSample, room: int) -> tuple[list[int], list[int]]:
        document, request = self._whole(sample)
        unseen = len(document) - self._reach
        if unseen > 0:
            del document[SINK : SINK + int(unseen)]
        return document, request

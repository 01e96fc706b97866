"""What every way of reading a long text has in common: it answers questions about it, and predicts it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation.samples import EvalSample


@dataclass(frozen=True)
class Reply:
    """A method's answer.

    Attributes:
        rows: of key/value memory that the document took.
        ratio: at which it was condensed; 0 if it was not.
    """

    text: str
    rows: int
    ratio: int = 0


class Method(ABC):
    """A way of reading a text that may be longer than the model's context.

    Args:
        name: as the tables have it.
    """

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self.engine = name, engine
        # The document read last, and what holds it: questions about one document follow one another.
        self._latest: tuple[Any, Any] | None = None

    @abstractmethod
    def ask(self, sample: EvalSample, max_new_tokens: int) -> Reply:
        """Read a sample's document, unless it was just read, and answer the question.

        Raises:
            TooLongError: if it is too long.
        """

    @abstractmethod
    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Losses (tokens), in nats, of a plain text's tokens from the second on, in order, as far as they fit."""

    def forget(self) -> None:
        """Let go of the document read last."""
        self._latest = None


def running_losses(
    engine: Engine, feed: Callable[[Sequence[int]], Iterator[Tensor]], ids: Sequence[int]
) -> Iterator[Tensor]:
    """Losses (tokens), pass by pass, of the tokens of `ids` from the second on, read after the prompt's opening.

    Args:
        feed: reads tokens, pass by pass, and yields their last hidden states (tokens, hidden).
    """
    opening = engine.source.frame.opening
    whole = [*opening, *ids]
    done = 0
    for hidden in feed(whole[:-1]):  # nothing follows the last
        first, end = max(done, len(opening)), done + len(hidden)
        if end > first:
            with torch.inference_mode():
                expected = torch.tensor(whole[first + 1 : end + 1], device=hidden.device)
                scores = engine.attached.logits(hidden[first - done :])
                scored = torch.nn.functional.cross_entropy(scores, expected, reduction="none")
            yield scored
        done = end

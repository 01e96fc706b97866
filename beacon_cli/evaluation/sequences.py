"""One text being read, by whatever method: tokens go in, last hidden states come out."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from beacon_cli.checkpoints.engine import Engine


class Reading(Protocol):
    """A text as far as it has been read."""

    @property
    def step(self) -> int:
        """Where two readings part at a multiple of so many tokens, neither shows that they began as one."""

    @property
    def rows(self) -> int:
        """Rows of key/value memory that it takes."""

    def feed(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Read on; the tokens' last hidden states (tokens, hidden), pass by pass. Exhaust it."""

    def fork(self) -> Self:
        """An independent copy."""


def duplicate(value: Any, engine: Engine) -> Any:
    """A deep copy of `value` that goes on using the very `engine`."""
    shared = engine, engine.attached, engine.attached.rotary
    with torch.inference_mode():
        return copy.deepcopy(value, {id(each): each for each in shared})


def read(reading: Reading, ids: Sequence[int]) -> Tensor:
    """Read on; the last token's hidden state (hidden)."""
    for passed in reading.feed(ids):
        hidden = passed
    return hidden[-1]


@torch.inference_mode()
def logits(engine: Engine, hidden: Tensor) -> Tensor:
    """(…, hidden) -> (…, vocabulary), in float32."""
    return engine.attached.logits(hidden)


def continuation(engine: Engine, reading: Reading, hidden: Tensor, limit: int) -> list[int]:
    """The likeliest tokens behind what has been read, up to an end token, at most `limit`.

    Args:
        hidden: (hidden) of the last token read.
    """
    ids: list[int] = []
    while len(ids) < limit:
        token = int(logits(engine, hidden).argmax())
        if token in engine.source.tokenizer.eos_ids:
            break
        ids.append(token)
        hidden = read(reading, [token])
    return ids


@torch.inference_mode()
def losses(engine: Engine, hidden: Tensor, targets: Sequence[int]) -> Tensor:
    """Cross-entropy (tokens), in nats, of `targets` after the hidden states (tokens, hidden) before them."""
    expected = torch.tensor(targets, device=hidden.device)
    return torch.nn.functional.cross_entropy(logits(engine, hidden), expected, reduction="none")

"""Decoding: token after token from a reader, until the model ends, the room does, or it has lost itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from activation_beacon import SequenceReader
from beacon_cli.checkpoints.engine import Engine

# "loop": it repeats itself; "babble": it takes tokens that it does not believe in itself.
Finished = Literal["stop", "length", "loop", "babble"]
# A loop: the last tokens are the same few, this often and this many in all.
LOOP_TIMES, LOOP_TOKENS = 3, 24
# Babble: the mean logarithm of the probability of the last tokens, as the model has it.
BABBLE_TOKENS, BABBLE_FLOOR = 24, math.log(0.1)


@dataclass(frozen=True)
class End:
    """Why an answer ended."""

    finished: Finished


def generate(
    engine: Engine, reader: SequenceReader, logits: torch.Tensor, *, max_new_tokens: int, temperature: float
) -> Iterator[int | End]:
    """Yield the tokens that follow what the reader has read, up to and without an end token; at last, why it ended.

    What is generated is condensed like anything that is read.

    Args:
        logits: (vocabulary) of the first token.
        temperature: 0 takes the likeliest token, always.
    """
    ids: list[int] = []
    believed: list[float] = []
    for index in range(max_new_tokens):
        token = pick(logits, temperature)
        if token in engine.source.tokenizer.eos_ids:
            yield End("stop")
            return
        ids.append(token)
        believed.append(belief(logits, token))
        yield token
        lost: Finished | None = "loop" if loops(ids) else "babble" if babbles(believed) else None
        # The next pass may bring the token and a beacon.
        if lost or index + 1 == max_new_tokens or reader.memory.size + 2 > engine.source.context:
            yield End(lost or "length")
            return
        logits = reader.read([token])


def pick(logits: torch.Tensor, temperature: float) -> int:
    """The next token, given its logits (vocabulary)."""
    if temperature > 0:
        return int(torch.multinomial((logits / temperature).softmax(-1), 1))
    return int(logits.argmax())


def belief(logits: torch.Tensor, token: int) -> float:
    """The logarithm of a token's probability, whatever the temperature it was drawn at."""
    return float(logits[token] - logits.logsumexp(-1))


def loops(ids: Sequence[int]) -> bool:
    """Whether the last tokens are one sequence again and again."""
    for period in range(1, len(ids) // LOOP_TIMES + 1):
        last = max(LOOP_TOKENS, LOOP_TIMES * period)
        if last <= len(ids) and ids[-last : len(ids) - period] == ids[len(ids) - last + period :]:
            return True
    return False


def babbles(believed: Sequence[float]) -> bool:
    """Whether the last tokens, whose log-probabilities these are, were as good as drawn by lot."""
    return len(believed) >= BABBLE_TOKENS and sum(believed[-BABBLE_TOKENS:]) < BABBLE_TOKENS * BABBLE_FLOOR

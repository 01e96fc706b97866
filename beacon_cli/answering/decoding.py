"""Decoding: token after token from a reader, until the model ends, the room does, or it has lost itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.checkpoints.engine import Engine

# "loop": it repeats itself; "babble": it does not know what to say.
Finished = Literal["stop", "length", "loop", "babble"]
# A loop: the last tokens are the same few, this often and this many in all.
LOOP_TIMES, LOOP_TOKENS = 3, 24
# Babble: the mean logarithm of the probability that the likeliest token had, of the last ones. (The limits are those
# that `benchmarks/stopping.py` shows to stop no right answer.)
BABBLE_TOKENS, BABBLE_FLOOR = 24, math.log(0.1)


@dataclass(frozen=True)
class End:
    """Why an answer ended."""

    finished: Finished


def generate(
    engine: Engine,
    asked: PromptLookup,
    *,
    max_new_tokens: int,
    temperature: float,
    said: Sequence[int] = (),
) -> Iterator[int | End]:
    """Yield the tokens that follow a prompt, up to and without an end token; at last, why it ended.

    What is generated is condensed like anything that is read.

    Args:
        temperature: 0 takes the likeliest token, always.
        said: tokens that were said already, which are not yielded, but count.
    """
    ids = [*said]
    believed: list[float] = []
    while True:
        lost: Finished | None = "loop" if loops(ids) else "babble" if babbles(believed) else None
        if lost or len(ids) == max_new_tokens or not asked.has_room(tuple(ids)):
            yield End(lost or "length")
            return
        logits = asked.following(tuple(ids))
        token = pick(logits, temperature)
        if token in engine.source.tokenizer.eos_ids:
            yield End("stop")
            return
        ids.append(token)
        believed.append(belief(logits))
        yield token


def pick(logits: torch.Tensor, temperature: float) -> int:
    """The next token, given its logits (vocabulary)."""
    if temperature > 0:
        return int(torch.multinomial((logits / temperature).softmax(-1), 1))
    return int(logits.argmax())


def belief(logits: torch.Tensor) -> float:
    """The logarithm of the likeliest token's probability: how sure the model is, whatever is drawn."""
    return float(logits.max() - logits.logsumexp(-1))


def loops(ids: Sequence[int], times: int = LOOP_TIMES, tokens: int = LOOP_TOKENS) -> bool:
    """Whether the last tokens are one sequence again and again: so many times, and so many tokens in all."""
    for period in range(1, len(ids) // times + 1):
        last = max(tokens, times * period)
        if last <= len(ids) and ids[-last : len(ids) - period] == ids[len(ids) - last + period :]:
            return True
    return False


def babbles(believed: Sequence[float], tokens: int = BABBLE_TOKENS, floor: float = BABBLE_FLOOR) -> bool:
    """Whether the model, that was so sure of each token (`belief`), was of the last `tokens` as good as lost."""
    return len(believed) >= tokens and sum(believed[-tokens:]) < tokens * floor

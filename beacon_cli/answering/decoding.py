"""Decoding: token after token from a reader, until the model ends or the room does."""

from collections.abc import Iterator

import torch

from activation_beacon import SequenceReader
from beacon_cli.checkpoints.engine import Engine


def generate(
    engine: Engine, reader: SequenceReader, logits: torch.Tensor, *, max_new_tokens: int, temperature: float
) -> Iterator[int | None]:
    """Yield the tokens that follow what the reader has read, up to and without an end token.

    What is generated is condensed like anything that is read.

    Args:
        logits: (vocabulary) of the first token.
        temperature: 0 takes the likeliest token, always.

    Yields:
        Token ids; at last None if it was `max_new_tokens` or the model's context that ended it.
    """
    for index in range(max_new_tokens):
        token = pick(logits, temperature)
        if token in engine.source.tokenizer.eos_ids:
            return
        yield token
        # The next pass may bring the token and a beacon.
        if index + 1 == max_new_tokens or reader.memory.size + 2 > engine.source.context:
            yield None
            return
        logits = reader.read([token])


def pick(logits: torch.Tensor, temperature: float) -> int:
    """The next token, given its logits (vocabulary)."""
    if temperature > 0:
        return int(torch.multinomial((logits / temperature).softmax(-1), 1))
    return int(logits.argmax())

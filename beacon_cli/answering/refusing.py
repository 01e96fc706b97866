"""How likely a model, asked about a text, says that the text does not say."""

import math

import torch

from activation_beacon import SequenceReader
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.engine import Engine


def refusal(engine: Engine) -> list[int]:
    """Token ids of the refusal, without what ends an answer."""
    return engine.source.tokenizer.encode(REFUSAL)


@torch.inference_mode()
def log_probability(engine: Engine, hidden: torch.Tensor, ids: list[int]) -> float:
    """The logarithm of the probability of `ids`, each after those before it.

    Args:
        hidden: (tokens, hidden) the last hidden states that each of them is said after.
    """
    logits = engine.attached.logits(hidden).log_softmax(-1)
    return float(logits.gather(-1, torch.tensor(ids, device=logits.device)[:, None]).sum())


@torch.inference_mode()
def refuses(engine: Engine, reader: SequenceReader, logits: torch.Tensor, limit: float) -> bool:
    """Whether the refusal's probability after a prompt is `limit` at least; the reader is then where it was.

    Args:
        reader: has read the prompt. The sentence is read on where its first token alone is likely enough, which it
            seldom is where an answer is.
        logits: (vocabulary) of what follows the prompt.
    """
    first, *others = refusal(engine)
    doubt = float(logits.log_softmax(-1)[first])
    if math.exp(doubt) < limit:
        return False
    # Not forgotten afterwards: the sentence may have ended an interval.
    before = reader.mark()
    hidden = torch.cat([step.hidden for step in reader.feed([first, *others[:-1]])])
    reader.rewind(before)
    return math.exp(doubt + log_probability(engine, hidden, others)) >= limit

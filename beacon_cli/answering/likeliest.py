"""The likeliest answer, in place of the likeliest token every time: that may begin no likely answer.

A model that answers in few words is sure of most answers, and of the rest spreads what it believes over a few. These
are looked for best first, so that the likeliest is found; one that does not stand in the text counts less.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from beacon_cli.answering.citations import literally
from beacon_cli.answering.decoding import End, generate
from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.answering.support import is_refusal
from beacon_cli.checkpoints.engine import Engine

# Logits (vocabulary) of what follows these tokens.
Following = Callable[[tuple[int, ...]], Tensor]
# So many tokens an answer has at most, and so many times the search asks what follows; so many tokens are tried there.
TOKENS, PASSES, TRIED = 16, 16, 8
# How much likelier than an answer a beginning may be that was left: that of a long answer is.
MUCH = 10
# What an answer that does not stand in the text counts for, of its probability.
ABSENT = 0.3
# A token of this probability is said at once, if all before it were.
CERTAIN = 0.95


@torch.inference_mode()
def generate_likeliest(
    engine: Engine, asked: PromptLookup, texts: Sequence[str], *, max_new_tokens: int
) -> Iterator[int | End]:
    """Yield the tokens of the likeliest answer, and why it ended, as `generate` does; of one that is too long to be
    searched for, of all tokens the likeliest.

    Args:
        asked: lets go back by `TOKENS`.
        texts: what the answer is to be taken from.
    """
    tokenizer, said = engine.source.tokenizer, list[int]()
    ends, most = tokenizer.eos_ids, min(TOKENS, max_new_tokens)
    for token in likeliest(asked.following, ends, most, lambda ids: worth(tokenizer.decode(ids), texts)):
        if token in ends:
            yield End("stop")
            return
        said.append(token)
        yield token
    yield from generate(engine, asked, max_new_tokens=max_new_tokens, temperature=0, said=said)


def worth(answer: str, texts: Sequence[str]) -> float:
    """What an answer counts for, of its probability: the refusal, which a limit of its own decides on, for nothing."""
    if not answer.strip() or is_refusal(answer):
        return 0.0
    return 1.0 if any(map(literally(answer).search, texts)) else ABSENT


def likeliest(
    following: Following, ends: Collection[int], most: int, counts: Callable[[list[int]], float]
) -> Iterator[int]:
    """Yield the tokens of the answer of the highest probability times what it counts for, and its end if it was found.

    What is certain of it is yielded first. Then the likeliest beginning is gone on with, until none is left that could
    be better than the best answer (best-first search), or what follows was asked `PASSES` times. It is not found if a
    beginning that was left then, or has more than `most` tokens, is `MUCH` times as likely as that.

    Args:
        ends: tokens that end an answer; their probability is part of its own.
        most: tokens of an answer, without its end.
        counts: from 0 to 1.
    """
    said: tuple[int, ...] = ()
    while len(said) < most:
        sureness, token = (each.item() for each in following(said).softmax(-1).max(-1))
        if sureness < CERTAIN or int(token) in ends:
            break
        said = (*said, int(token))
        yield said[-1]
    # What it costs to say, in nats; then what is said.
    waiting: list[tuple[float, tuple[int, ...]]] = [(0.0, said)]
    best: tuple[int, ...] = ()
    least = left = math.inf
    passes = 0
    while waiting and waiting[0][0] < least:
        cost, ids = heapq.heappop(waiting)
        if ids and ids[-1] in ends:
            share = counts(list(ids[:-1]))
            if share > 0 and cost - math.log(share) < least:
                best, least = ids, cost - math.log(share)
        elif passes == PASSES or len(ids) > most:
            left = min(left, cost)
        else:
            passes += 1
            logits = following(ids)
            log_probabilities, tokens = (each.tolist() for each in logits.log_softmax(-1).topk(min(TRIED, len(logits))))
            for log_probability, token in zip(log_probabilities, tokens, strict=True):
                heapq.heappush(waiting, (cost - log_probability, (*ids, token)))
    if least <= left + math.log(MUCH):
        yield from best[len(said) :]

"""Which text comes when, and how fast is learned: functions of the step alone, so that nothing of it need be kept."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# What the generators of a seed are for.
_ORDER, _RATIOS = 0, 1


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Of step 0, 1, …: up in a straight line for `warmup` steps, then a cosine down to a twentieth."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def texts_of_step(step: int, batch: int, texts: int, seed: int) -> Sequence[tuple[int, int]]:
    """The texts of a step: (how many were drawn before it since the first step, index).

    Every epoch has all texts, in an order of its own.
    """
    drawn = range(step * batch, (step + 1) * batch)
    return [(number, int(_order(number // texts, texts, seed)[number % texts])) for number in drawn]


@lru_cache(maxsize=2)
def _order(epoch: int, texts: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(texts)


def ratio_generator(seed: int, number: int) -> np.random.Generator:
    """What draws the ratios of the text that is drawn as the `number`-th since the first step."""
    return np.random.default_rng([seed, _RATIOS, number])

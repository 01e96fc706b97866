"""Scores of answers, and how sure their averages are."""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "“”‘’–—…")
# Two-sided 95 %.
_Z = 1.959964
_RESAMPLES = 1000


def normal(text: str) -> str:
    """As SQuAD compares answers: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 if the answer is one of `golds`, else 0."""
    return max(float(normal(answer) == normal(gold)) for gold in golds)


def f1(answer: str, golds: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the answer's words, for the best of `golds`."""
    return max(_f1(normal(answer).split(), normal(gold).split()) for gold in golds)


def found(answer: str, golds: Sequence[str]) -> float:
    """1 if one of `golds` stands in the answer as whole words, else 0."""
    return max(float(f" {normal(gold)} " in f" {normal(answer)} ") for gold in golds)


def _f1(words: list[str], gold: list[str]) -> float:
    if not words or not gold:
        return float(words == gold)
    shared = sum((Counter(words) & Counter(gold)).values())
    return 2 * shared / (len(words) + len(gold))


def wilson(hits: float, count: int) -> tuple[float, float]:
    """95 % confidence interval (Wilson's) of a share of `count` > 0 trials."""
    share, z2 = hits / count, _Z * _Z
    middle = share + z2 / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    low, high = (middle - spread) / (1 + z2 / count), (middle + spread) / (1 + z2 / count)
    return max(low, 0.0), min(high, 1.0)


def bootstrap(values: Sequence[float], weights: Sequence[float] | None = None) -> tuple[float, float]:
    """95 % confidence interval of the (weighted) mean of `values`, by resampling with a fixed seed."""
    taken = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    each = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    means = (np.asarray(values, dtype=float) * each)[taken].sum(1) / each[taken].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def perplexity(losses: Sequence[float], tokens: Sequence[float]) -> float:
    """e to the mean loss a token (in nats), of blocks with so many tokens each."""
    return math.exp(sum(loss * n for loss, n in zip(losses, tokens, strict=True)) / sum(tokens))

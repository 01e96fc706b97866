"""Whether the documents say what an answer says, and where.

What is compared are terms (`terms`): the names, the numbers and the other content words of each of its sentences,
without those that the question gave already. A passage *holds* a sentence if it has all its names and numbers and
three quarters of its terms, in whatever order. It is *about* the question if it, or its page, has half of the
question's terms, each weighted by how rare it is, and if the very sentence in it that has most of the answer has three
tenths. So an answer that stands somewhere, but not where the question is about it, is supported partly at most.
Negations, and other words of the same meaning, are beyond this. (`benchmarks/support.py` has figures.)
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beacon_cli.answering.passages import sentences
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.terms import words

Supported = bool | Literal["partly"]
HELD, HALF = 0.75, 0.5  # of a sentence's terms
ABOUT, NEAR = 0.5, 0.3  # of the weight of the question's terms: in passage or page, in the sentence
# Passages that hold the answer whose sentences are looked at, in the order of their rank.
_LOOKED_AT = 20
_Passages = NDArray[np.bool_]


def is_refusal(answer: str) -> bool:
    """Whether an answer says, in the words in which models are taught to, that the text does not say."""
    return _flat(answer) == _flat(REFUSAL)


def begins_refusal(answer: str) -> bool:
    """Whether an answer that is not complete may become one of these."""
    return _flat(REFUSAL).startswith(_flat(answer))


def _flat(text: str) -> str:
    return " ".join(text.casefold().strip(" .\"'“”").split())


@dataclass(frozen=True)
class Support:
    """What the documents say of an answer.

    Attributes:
        supported: True if they hold all of it where the question is about it, "partly" if they hold some of it, or
            hold it elsewhere only.
        places: numbers of the passages that hold some of it, the best first.
    """

    supported: Supported
    places: tuple[int, ...]


def support(index: SearchIndex, question: str, answer: str) -> Support:
    """What the passages of `index` say of an `answer` to `question`; one without content words has no support."""
    asked = _Asked(index, question)
    verdicts: list[Supported] = []
    best = np.zeros(len(index.passages))
    for sentence in sentences(answer):
        claims = _Claims(index, sentence, asked.weights)
        if not claims.terms:
            continue
        held, partly = claims.holding(HELD), claims.holding(HALF) & asked.about
        sure = asked.near(held & asked.about, claims)
        verdicts.append(True if sure.any() else "partly" if held.any() or partly.any() else False)
        best = np.maximum(best, 4 * sure + 2 * held + partly)
    if not any(verdicts):
        return Support(False, ())
    order = np.lexsort((-asked.scores, -best))
    places = tuple(int(number) for number in order if best[number] > 0)
    return Support(True if all(verdict is True for verdict in verdicts) else "partly", places)


class _Claims:
    """The terms that a sentence of an answer stands or falls with; those of the question only if it has no others."""

    def __init__(self, index: SearchIndex, sentence: str, asked: Collection[str]) -> None:
        self._index = index
        said = {word: index.terms.of_word(word) for word in words(sentence)}
        all_terms = {term for terms in said.values() for term in terms}
        self.terms = sorted(all_terms - set(asked) or all_terms)
        first = next(iter(said), "")
        self._strict = {
            term
            for word, terms in said.items()
            for term in terms
            if word[0].isdigit() or (word[0].isupper() and (word != first or term in index.tables.names))
        }

    @cached_property
    def _there(self) -> NDArray[np.bool_]:
        """(terms, passages) which stands where."""
        return np.array([self._index.own(term) > 0 for term in self.terms])

    def holding(self, share: float) -> _Passages:
        """(passages) which have all its names and numbers, and this share of its terms."""
        strict = [term in self._strict for term in self.terms]
        there = self._there
        return np.asarray(there[strict].all(axis=0) & (there.sum(axis=0) >= share * len(self.terms)))


class _Asked:
    """A question's terms.

    Attributes:
        weights: how rare each is.
        about: (passages) which it is about; all of them for a question of small words only.
        scores: (passages) how much each shares with it.
    """

    def __init__(self, index: SearchIndex, question: str) -> None:
        self._index = index
        self.weights: dict[str, float] = {}
        self.scores = index.scores(question)
        found = np.zeros(len(index.passages))
        for term in set(index.terms.of(question)):
            own = index.own(term) > 0
            # What stands nowhere counts as much as what stands once.
            self.weights[term] = math.log(1 + len(own) / max(1, int(own.sum())))
            found += self.weights[term] * (own | (index.whole(term) > 0))
        self._total = sum(self.weights.values())
        self.about: _Passages = found >= ABOUT * self._total

    def near(self, passages: _Passages, claims: _Claims) -> _Passages:
        """Those of `passages` in which a sentence that has most of the claims is about the question too."""
        near = np.zeros(len(passages), dtype=np.bool_)
        numbers = np.flatnonzero(passages)
        for number in numbers[np.argsort(-self.scores[numbers], kind="stable")][:_LOOKED_AT]:
            terms = [set(self._index.terms.of(part)) for part in sentences(self._index.passages[number].text)]
            most = max(len(part & set(claims.terms)) for part in terms)
            near[number] = any(
                sum(self.weights.get(term, 0.0) for term in part) >= NEAR * self._total
                for part in terms
                if len(part & set(claims.terms)) == most
            )
        return near

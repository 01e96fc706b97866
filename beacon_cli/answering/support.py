"""Whether the documents say what an answer says, and where.

What is compared are terms (`terms`): the names, the numbers and the other content words of each of its sentences,
without those that the question gave already. A passage *holds* a sentence if it has all its names and numbers and
three quarters of its terms, in whatever order; it is *about* the question if it, or its page, has half of the
question's terms, each weighted by how rare it is. So an answer that stands somewhere, but nowhere that the question is
about, is supported partly at most. Negations, and words of the same meaning, are beyond this.
"""

import math
from collections.abc import Sequence
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
ABOUT = 0.5  # of the weight of the question's terms
_Passages = NDArray[np.bool_]


def is_refusal(answer: str) -> bool:
    """Whether an answer says, in the words in which models are taught to, that the text does not say."""
    said, refusal = (" ".join(text.casefold().strip(" .\"'“”").split()) for text in (answer, REFUSAL))
    return said == refusal


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
    asked = index.terms.of(question)
    verdicts: list[Supported] = []
    best = np.zeros(len(index.passages))
    about = _about(index, asked)
    for sentence in sentences(answer):
        claims = _Claims(index, sentence, asked)
        if not claims.terms:
            continue
        held, partly = claims.holding(HELD), claims.holding(HALF)
        verdicts.append(True if (held & about).any() else "partly" if held.any() or (partly & about).any() else False)
        best = np.maximum(best, 4 * (held & about) + 2 * held + (partly & about))
    if not any(verdicts):
        return Support(False, ())
    order = np.lexsort((-index.scores(question), -best))
    places = tuple(int(number) for number in order if best[number] > 0)
    return Support(True if all(verdict is True for verdict in verdicts) else "partly", places)


class _Claims:
    """The terms that a sentence of an answer stands or falls with; those of the question only if it has no others."""

    def __init__(self, index: SearchIndex, sentence: str, asked: Sequence[str]) -> None:
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


def _about(index: SearchIndex, asked: Sequence[str]) -> _Passages:
    """(passages) which a question of these terms is about; all of them for a question of small words only."""
    total = 0.0
    found = np.zeros(len(index.passages))
    for term in set(asked):
        there = (index.own(term) > 0) | (index.whole(term) > 0)
        # What stands nowhere counts as much as what stands once.
        rarity = math.log(1 + len(there) / max(1, int((index.own(term) > 0).sum())))
        total += rarity
        found += rarity * there
    return np.asarray(found >= ABOUT * total)

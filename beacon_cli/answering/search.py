"""Which passages a question is about: BM25 over the terms of the passages and of their pages.

Condensing blurs names and numbers. The authors put such intervals back uncondensed, found by BM25 (v1's
`retrieval_method`); here the passages are read again before the question.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import bm25s
import numpy as np
from numpy.typing import NDArray

from beacon_cli.answering.passages import Passage
from beacon_cli.answering.terms import Terms, is_unspaced, language_of, words

# Chosen on half of the articles and countries of `benchmarks/search.py`, which has the figures.
K1, B = 0.9, 0.4
# How much a term on the passage's page counts, of what it counts in the passage itself: a name counts in full.
PAGE_WEIGHT = 0.5
_SAMPLED = 200  # passages that tell the language


@dataclass(frozen=True)
class Tables:
    """What is computed of the passages, and kept with the cache (`search_file`).

    Attributes:
        language: by whose rules the terms are made.
        own, whole: BM25 of the passages and of their pages.
        names: terms that are never written with a small letter.
    """

    language: str
    own: Any
    whole: Any
    names: frozenset[str]


class SearchIndex:
    """Ranks passages by BM25; a term counts as it does for the passage, or by half as it does for its page.

    A passage seldom repeats what its page is about: that stands in a heading, a few sentences before, or, where there
    are several documents, in the name of its own. That is mostly a name, which counts in full for the page.

    Args:
        passages: of one or several documents, in their order.
        tables: of the same passages, computed before.
    """

    def __init__(self, passages: Sequence[Passage], tables: Tables | None = None) -> None:
        self.passages = passages
        # Pages by document and number, in their order.
        order = {key: i for i, key in enumerate(dict.fromkeys((p.document, p.page) for p in passages))}
        self._page_of = np.array([order[p.document, p.page] for p in passages], dtype=np.int64)
        self.tables = self._tables(len(order)) if tables is None else tables
        self.terms = Terms(self.tables.language)

    def _tables(self, pages: int) -> Tables:
        sample = self.passages[:: 1 + len(self.passages) // _SAMPLED]
        terms = Terms(language_of("\n".join(passage.text for passage in sample)))
        several = len({passage.document for passage in self.passages}) > 1
        whole: list[list[str]] = [[] for _ in range(pages)]
        own: list[list[str]] = []
        vocabulary = set[str]()
        for passage, page in zip(self.passages, self._page_of, strict=True):
            said = words(passage.text)
            vocabulary.update(said)
            found = [term for word in said for term in terms.of_word(word)]
            heading = terms.of(passage.section or "")
            if not whole[page]:
                whole[page] += heading + (terms.of(_title(passage.document)) if several else [])
            whole[page] += found
            own.append(heading + found)
        small = {term for word in vocabulary if not word[0].isupper() for term in terms.of_word(word)}
        names = {term for word in vocabulary if word[0].isupper() for term in terms.of_word(word)} - small
        return Tables(terms.language, _bm25(own), _bm25(whole), frozenset(names))

    def find(self, question: str, count: int) -> list[Passage]:
        """The passages, `count` at most, that share most with `question`, the best first; none that shares nothing."""
        return [self.passages[number] for number in self.ranked(question)[: max(count, 0)]]

    def ranked(self, question: str) -> list[int]:
        """The numbers of the passages that share something with `question`, the best first."""
        scores = self.scores(question)
        return [int(number) for number in np.argsort(-scores, kind="stable") if scores[number] > 0]

    def scores(self, question: str) -> NDArray[np.float32]:
        """(passages) how much each shares with `question`."""
        scores = np.zeros(len(self.passages), dtype=np.float32)
        names = self._names(question)
        for term in dict.fromkeys(self.terms.of(question)):
            scores += np.maximum(self.own(term), (1.0 if term in names else PAGE_WEIGHT) * self.whole(term))
        return scores

    def _names(self, question: str) -> frozenset[str]:
        """The terms of its words with a capital, or of one that writes none, those that the text never writes small."""
        capitals = [word for word in words(question) if word[0].isupper()]
        found = frozenset(term for word in capitals for term in self.terms.of_word(word))
        return found or self.tables.names

    def own(self, term: str) -> NDArray[np.float32]:
        """(passages) how much a term counts for each; 0 where it does not stand."""
        return _scores(self.tables.own, term, len(self.passages))

    def whole(self, term: str) -> NDArray[np.float32]:
        """(passages) the same for the page of each."""
        return _scores(self.tables.whole, term, int(self._page_of.max(initial=-1)) + 1)[self._page_of]

    def marked(self, text: str, question: str) -> list[tuple[int, int]]:
        """Where in `text` the words of `question` stand, in whatever form: first character, end."""
        wanted, spans, start = frozenset(self.terms.of(question)), list[tuple[int, int]](), 0
        for word in words(text):
            start = text.index(word, start)
            if not is_unspaced(word):
                found = [(0, len(word))] if wanted.intersection(self.terms.of_word(word)) else []
            else:  # each pair of characters, and each character alone
                pieces = ((i, i + size) for i in range(len(word)) for size in (1, 2))
                found = [(i, end) for i, end in pieces if word[i:end] in wanted and end <= len(word)]
            for first, end in found:
                if spans and start + first <= spans[-1][1]:
                    spans[-1] = spans[-1][0], max(spans[-1][1], start + end)
                else:
                    spans.append((start + first, start + end))
            start += len(word)
        return spans


def _title(document: str) -> str:
    """The words of a document's name."""
    return re.sub(r"[\W_]+", " ", str(PurePath(document).with_suffix("")))


def _bm25(terms: list[list[str]]) -> Any:
    index = bm25s.BM25(k1=K1, b=B)
    # Of nothing at all it makes no index.
    index.index(terms if any(terms) else [["nothing"]], show_progress=False)
    return index


def _scores(index: Any, term: str, size: int) -> NDArray[np.float32]:
    if term not in index.vocab_dict or not size:
        return np.zeros(size, dtype=np.float32)
    scores: NDArray[np.float32] = index.get_scores([term])
    return scores

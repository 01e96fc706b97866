"""Which passages a question is about: BM25 over the words of the passages and of their pages.

Condensing blurs names and numbers. The authors put such intervals back uncondensed, found by BM25 (v1's
`retrieval_method`); here the passages are read again before the question.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from beacon_cli.answering.passages import Passage


class SearchIndex:
    """Ranks passages by BM25; a term counts as it does for the passage or for its page, whichever is more.

    A passage seldom repeats what its page is about: that stands in a heading, a few sentences before, or, where there
    are several documents, in the name of its own.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        if not passages:
            return  # bm25s cannot index nothing
        self._own = _index([passage.text for passage in passages])
        several = len({passage.document for passage in passages}) > 1
        pages: dict[tuple[str, int], list[str]] = {}
        for passage in passages:
            title = [_title(passage.document)] if several else []
            title += [passage.section] if passage.section else []
            pages.setdefault((passage.document, passage.page), title).append(passage.text)
        self._whole = _index([" ".join(texts) for texts in pages.values()])
        order = {page: index for index, page in enumerate(pages)}
        self._page_of = np.array([order[passage.document, passage.page] for passage in passages], dtype=np.int64)

    def find(self, words: str, count: int) -> list[Passage]:
        """The passages, `count` at most, that share most with `words`, the best first; none that shares nothing."""
        scores = self.scores(words)
        best = [index for index in np.argsort(-scores, kind="stable")[: max(count, 0)] if scores[index] > 0]
        return [self.passages[index] for index in best]

    def scores(self, words: str) -> NDArray[np.float32]:
        """(passages) how much each shares with `words`."""
        scores = np.zeros(len(self.passages), dtype=np.float32)
        if not self.passages:
            return scores
        (terms,) = _terms([words])
        for term in set(terms) & self._whole.vocab_dict.keys():
            of_page = self._whole.get_scores([term])[self._page_of]
            own = self._own.get_scores([term]) if term in self._own.vocab_dict else of_page
            scores += np.maximum(own, of_page)
        return scores


def _title(document: str) -> str:
    """The words of a document's name."""
    return re.sub(r"[\W_]+", " ", str(PurePath(document).with_suffix("")))


def _index(texts: list[str]) -> bm25s.BM25:
    index = bm25s.BM25()
    index.index(_terms(texts or ["nothing"]), show_progress=False)  # of nothing at all it makes no index
    return index


def _terms(texts: list[str]) -> list[list[str]]:
    """For each text, stems of the words that say something (by the rules of English)."""
    stemmer = Stemmer.Stemmer("english")
    return bm25s.tokenize(texts, stopwords="en_plus", stemmer=stemmer, return_ids=False, show_progress=False)  # type: ignore[no-any-return]  # bm25s is untyped

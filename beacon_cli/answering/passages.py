"""Finding again: which passages of a document a question is about, and where in it an answer stands.

Condensing blurs names and numbers. The authors put such intervals back uncondensed, found by BM25 (v1's
`retrieval_method`); here the passages are re-read in front of the question.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from beacon_cli.cache import PageText
from beacon_cli.events import Citation

PASSAGE_WORDS = 100
QUOTE_CHARACTERS = 240
# A full stop before a small letter is an abbreviation, or stands in a record ("Capital. name: Reykjavik").
SENTENCE_END = re.compile(r"""[.!?]["'”’)]*[^\S\n]+(?=[^\sa-z])|\n+""")
_EMPTY_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")


@dataclass(frozen=True)
class Passage:
    """Some consecutive sentences of one page of a document."""

    document: str
    page: int
    label: str | None
    section: str | None
    text: str


def split_passages(pages: Sequence[PageText], document: str = "") -> list[Passage]:
    """Cut every page of a document at sentence ends into passages of up to `PASSAGE_WORDS` words, verbatim."""
    passages = []
    for page in pages:
        text, words = "", 0
        for sentence in _sentences(page.text):
            length = len(sentence.split())
            if text and words + length > PASSAGE_WORDS:
                passages.append(_passage(document, page, text))
                text, words = "", 0
            text += sentence
            words += length
        if text.strip():
            passages.append(_passage(document, page, text))
    return passages


def _passage(document: str, page: PageText, text: str) -> Passage:
    """Without the white space around it, but for what its first line is indented by."""
    return Passage(document, page.number, page.label, page.section, _EMPTY_LINES.sub("", text).rstrip())


def find_passages(passages: Sequence[Passage], question: str, count: int) -> list[Passage]:
    """The passages that share most with the question by BM25, best last: nearest to the question when re-read."""
    (terms,) = _terms([question])
    if not passages or not terms or count < 1:
        return []
    scores = _scores(passages, terms)
    best = [index for index in np.argsort(-scores, kind="stable")[:count] if scores[index] > 0]
    return [passages[index] for index in reversed(best)]


def cite(passages: Sequence[Passage], question: str, answer: str) -> list[Citation]:
    """Where the answer stands literally, the place that fits the question best first; one citation a page, at most 3.

    Empty if it stands nowhere: then no page is claimed.
    """
    wanted = _normal(answer)
    if not wanted:
        return []
    pattern = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
    holding = [index for index, passage in enumerate(passages) if pattern.search(_normal(passage.text))]
    if not holding:
        return []
    scores = _scores(passages, _terms([question])[0])
    citations: dict[tuple[str, int], Citation] = {}
    for index in sorted(holding, key=lambda index: -scores[index]):
        passage = passages[index]
        quote = _quote(passage.text, pattern)
        quoted = Citation(passage.document, passage.page, passage.label, passage.section, quote)
        citations.setdefault((passage.document, passage.page), quoted)
    return list(citations.values())[:3]


def _scores(passages: Sequence[Passage], terms: Sequence[str]) -> NDArray[np.float32]:
    """BM25 of each passage; a term counts as it does for the passage or for its page, whichever is more.

    A passage seldom repeats what its page is about: that stands in a heading, a few sentences before, or, where there
    are several documents, in the name of its own.
    """
    own = _index([passage.text for passage in passages])
    several = len({passage.document for passage in passages}) > 1
    pages: dict[tuple[str, int], list[str]] = {}
    for passage in passages:
        title = [_title(passage.document)] if several else []
        title += [passage.section] if passage.section else []
        pages.setdefault((passage.document, passage.page), title).append(passage.text)
    whole = _index([" ".join(texts) for texts in pages.values()])
    order = {page: index for index, page in enumerate(pages)}
    page_of = np.array([order[passage.document, passage.page] for passage in passages])
    scores = np.zeros(len(passages), dtype=np.float32)
    for term in set(terms) & whole.vocab_dict.keys():
        of_page = whole.get_scores([term])[page_of]
        scores += np.maximum(own.get_scores([term]), of_page) if term in own.vocab_dict else of_page
    return scores


def _title(document: str) -> str:
    """The words of a document's name."""
    return re.sub(r"[\W_]+", " ", str(PurePath(document).with_suffix("")))


def _index(texts: list[str]) -> bm25s.BM25:
    index = bm25s.BM25()
    index.index(_terms(texts), show_progress=False)
    return index


def _terms(texts: list[str]) -> list[list[str]]:
    """For each text, stems of the words that say something (by the rules of English)."""
    stemmer = Stemmer.Stemmer("english")
    return bm25s.tokenize(texts, stopwords="en_plus", stemmer=stemmer, return_ids=False, show_progress=False)  # type: ignore[no-any-return]  # bm25s is untyped


def _sentences(text: str) -> Iterator[str]:
    """All of a text as sentences or lines, each with the white space behind it and a line with what it is indented by.

    What has no end in sight is cut between words.
    """
    start = 0
    for end in (*(match.end() for match in SENTENCE_END.finditer(text)), len(text)):
        words = [start + word.start() for word in re.finditer(r"\S+", text[start:end])]
        cuts = [start, *words[PASSAGE_WORDS::PASSAGE_WORDS], end]
        yield from (text[first:last] for first, last in pairwise(cuts))
        start = end


def _normal(text: str) -> str:
    """For literal comparison: case, runs of spaces and a final full stop do not count."""
    return " ".join(text.casefold().split()).strip(" .")


def _quote(text: str, pattern: re.Pattern[str]) -> str:
    """The sentence of `text` that holds the match, shortened around it if it is long."""
    sentence = next((s for s in _sentences(text) if pattern.search(_normal(s))), text)
    sentence = " ".join(sentence.split())
    if len(sentence) <= QUOTE_CHARACTERS:
        return sentence
    found = pattern.search(_normal(sentence))
    middle = found.start() if found else 0
    first = max(0, min(middle - QUOTE_CHARACTERS // 3, len(sentence) - QUOTE_CHARACTERS))
    return f"{'…' if first else ''}{sentence[first : first + QUOTE_CHARACTERS].strip()}…"

"""A summary of a text's own sentences: TextRank (Mihalcea and Tarau, 2004) over TF-IDF vectors of its sentences.

A sentence is worth as much as the worthy sentences that it is like: the stationary distribution of a walk from sentence
to sentence, by cosine similarity. Of each of as many stretches of the text as sentences are wanted, the best is taken,
so that the end of a book is not lost to its beginning. The similarities are never written out: a step of the walk is
two products with the sparse matrix of the vectors, in time and memory that grow with the text and not with its square.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import regex
from numpy.typing import NDArray

from beacon_cli.answering.passages import Place, sentences
from beacon_cli.answering.terms import Terms, words
from beacon_cli.cache.pages import PageText

DAMPING, STEPS = 0.85, 30
# Words of a sentence that can stand by itself: what is shorter is a heading or an exclamation, what is longer a list.
# Three quarters of them at most are content words, and an eighth numbers; of a record ("Exports: 2.1 %") more.
SHORTEST, LONGEST = 12, 45
CONTENT, NUMBERS = 0.75, 0.125
# Two sentences that are as alike as this say the same.
ALIKE = 0.5
SECTION_WORDS = 40
# Where a document names no sections, so many stretches of pages are its sections.
STRETCHES = 8
_ENDED = regex.compile(r"""[.!?…。！？।؟]["'”’»)」』）]*$""")
_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Extract(Place):
    """A sentence of a document, and where it stands."""

    text: str


@dataclass(frozen=True)
class Section:
    """A part of a document, and the sentences that say most of it, in their order.

    Attributes:
        title: its heading; None if it is all of the text.
    """

    document: str
    title: str | None
    extracts: tuple[Extract, ...]


def summarize(document: str, pages: Sequence[PageText], terms: Terms, length: int) -> list[Extract]:
    """About `length` words of a document: the sentences that say most, in their order."""
    candidates = list(_candidates(document, pages))
    found = [each for each in candidates if _stands_by_itself(each.text, terms)] or candidates
    if not found:
        return []
    average = sum(len(words(each.text)) for each in found) / len(found)
    wanted = min(max(1, round(length / average)), len(found))
    vectors = _Vectors([terms.of(each.text) for each in found])
    ranks = vectors.ranks()
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(found)), wanted):
        best = map(int, stretch[np.argsort(-ranks[stretch], kind="stable")])
        chosen += islice((number for number in best if not chosen or vectors.alike(number, chosen) < ALIKE), 1)
    return [found[number] for number in chosen]


def sections(document: str, pages: Sequence[PageText], terms: Terms, length: int) -> list[Section]:
    """The same of each section of a document, `SECTION_WORDS` words at least and about `length` together."""
    parts: dict[str, list[PageText]] = {}
    for page in pages:
        if page.section:
            parts.setdefault(page.section.split(" › ")[0], []).append(page)
        elif parts:  # it goes on
            parts[next(reversed(parts))].append(page)
    if len(parts) < 2:
        size = -(-len(pages) // STRETCHES)
        stretches = [pages[first : first + size] for first in range(0, len(pages), size)]
        parts = {_span(stretch): list(stretch) for stretch in stretches}
    each = max(SECTION_WORDS, length // max(1, len(parts)))
    made = (Section(document, title, tuple(summarize(document, part, terms, each))) for title, part in parts.items())
    return [section for section in made if section.extracts]


def _span(pages: Sequence[PageText]) -> str:
    first, last = pages[0].label, pages[-1].label
    return f"p. {first}" if first == last else f"p. {first}–{last}"


def _candidates(document: str, pages: Sequence[PageText]) -> Iterator[Extract]:
    """The sentences that can stand by themselves, whole, without the line breaks in them."""
    for page in pages:
        # A line's end is no sentence's: paragraphs are set over several.
        for paragraph in regex.split(r"\n\s*\n", page.text):
            for sentence in sentences(" ".join(paragraph.split())):
                text = sentence.strip()
                if _ENDED.search(text):
                    yield Extract(document, page.number, page.label, page.section, text)


def _stands_by_itself(text: str, terms: Terms) -> bool:
    """Whether it is a whole sentence of telling, and not speech, a question or a record."""
    if text.endswith("。"):
        return SHORTEST <= len(text) <= 3 * LONGEST
    said = words(text)
    numbers = sum(word[0].isdigit() for word in said)
    content = sum(bool(terms.of_word(word)) for word in said)
    return (
        SHORTEST <= len(said) <= LONGEST
        and numbers <= NUMBERS * len(said)
        and content <= CONTENT * len(said)
        and text[0].isupper()
        and "?" not in text
        and text.count("“") == text.count("”")
    )


class _Vectors:
    """TF-IDF vectors of sentences, each of length 1, as the entries of a sparse matrix (sentences, terms)."""

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        vocabulary: dict[str, int] = {}
        pairs = [(row, vocabulary.setdefault(term, len(vocabulary))) for row, s in enumerate(sentences) for term in s]
        width, self._size = max(len(vocabulary), 1), len(sentences)
        table = np.array(pairs or [(0, 0)], dtype=np.int64)
        keys, times = np.unique(table[:, 0] * width + table[:, 1], return_counts=True)
        self._rows, self._columns, self._width = keys // width, keys % width, width
        rarity = np.log(1 + self._size / np.bincount(self._columns, minlength=width).clip(1))
        values = times * rarity[self._columns]
        lengths = np.sqrt(np.bincount(self._rows, values**2, self._size)).clip(1e-9)
        self._values = values / lengths[self._rows]

    def ranks(self) -> _Vector:
        """(sentences) their worth, 1 together."""
        ranks = np.full(self._size, 1 / self._size)
        degrees = self._similar(np.ones(self._size)).clip(1e-9)
        for _ in range(STEPS):
            ranks = (1 - DAMPING) / self._size + DAMPING * self._similar(ranks / degrees)
        return ranks

    def alike(self, number: int, others: Sequence[int]) -> float:
        """How like a sentence is to the one of the others that it is most like."""
        one = np.zeros(self._size)
        one[number] = 1.0
        return float(self._products(one)[list(others)].max())

    def _similar(self, vector: _Vector) -> _Vector:
        """The product with the matrix of similarities, in which no sentence is like itself."""
        return np.asarray((self._products(vector) - vector).clip(0))

    def _products(self, vector: _Vector) -> _Vector:
        by_term = np.bincount(self._columns, self._values * vector[self._rows], self._width)
        return np.asarray(np.bincount(self._rows, self._values * by_term[self._columns], self._size), dtype=np.float64)

"""Where in the documents an answer stands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from beacon_cli.answering.passages import Passage, Place, sentences
from beacon_cli.answering.search import SearchIndex

QUOTE_CHARACTERS = 240
MOST_CITATIONS = 3


@dataclass(frozen=True)
class Citation(Place):
    """A place where an answer stands, and the words on it."""

    quote: str


def cite(index: SearchIndex, places: Sequence[int], answer: str) -> list[Citation]:
    """The places of an answer as citations, at most 3; those that hold it word for word come first.

    There is one a page, and one of words that a document repeats.

    Args:
        places: numbers of the passages that hold it, the best first, see `support`.
    """
    pattern = literally(answer)
    literal = [number for number in places if pattern.search(index.passages[number].text)]
    citations, told = list[Citation](), set[tuple[str, int | str]]()
    for number in (*literal, *(number for number in places if number not in set(literal))):
        passage = index.passages[number]
        document = passage.document
        if (document, passage.page) in told:
            continue
        found = cited(index, passage, answer)
        if (document, found.quote) not in told:
            citations.append(found)
        told |= {(document, passage.page), (document, found.quote)}
        if len(citations) == MOST_CITATIONS:
            break
    return citations


def cited(index: SearchIndex, passage: Passage, words: str) -> Citation:
    """A passage as the place where these words stand, or most of them."""
    quoted = quote(index, passage.text, words)
    return Citation(passage.document, passage.page, passage.label, passage.section, quoted)


def quote(index: SearchIndex, text: str, answer: str) -> str:
    """The sentence of `text` that holds the answer, or most of its words (all of `text` if the answer crosses
    sentences), shortened around that."""
    pattern = literally(answer)
    parts = [" ".join(part.split()) for part in sentences(text)]
    whole = " ".join(text.split())
    if (found := pattern.search(whole)) is None:
        spans = [index.marked(part, answer) for part in parts]
        best = max(range(len(parts)), key=lambda number: sum(end - first for first, end in spans[number]))
        return _around(parts[best], spans[best][0][0] if spans[best] else 0)
    sentence = next((part for part in parts if pattern.search(part)), whole)
    found = pattern.search(sentence) or found
    return _around(sentence, found.start())


def literally(answer: str) -> re.Pattern[str]:
    """Finds the words of an answer as they are, but for case, white space and a final full stop."""
    words = answer.strip(" .\n\t\r").split()
    return re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)", re.IGNORECASE)


def _around(sentence: str, middle: int) -> str:
    """A sentence shortened to `QUOTE_CHARACTERS` around the character `middle`."""
    if len(sentence) <= QUOTE_CHARACTERS:
        return sentence
    first = max(0, min(middle - QUOTE_CHARACTERS // 3, len(sentence) - QUOTE_CHARACTERS))
    end = first + QUOTE_CHARACTERS
    return f"{'…' if first else ''}{sentence[first:end].strip()}{'…' if end < len(sentence) else ''}"

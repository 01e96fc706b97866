"""Where in the documents an answer stands, word for word."""

import re
from dataclasses import dataclass

from beacon_cli.answering.passages import sentences
from beacon_cli.answering.search import SearchIndex

QUOTE_CHARACTERS = 240
MOST_CITATIONS = 3


@dataclass(frozen=True)
class Citation:
    """A place where an answer stands: the document, the page, the headings above it, and the words on it."""

    document: str
    page: int
    label: str | None
    section: str | None
    quote: str


def cite(index: SearchIndex, question: str, answer: str) -> list[Citation]:
    """Where the answer stands literally, the place that fits the question best first; one citation a page, at most 3.

    Case, runs of white space and a final full stop do not count. Empty if it stands nowhere: then no page is claimed.
    """
    words = answer.strip(" .\n\t\r").split()
    if not words:
        return []
    pattern = re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)", re.IGNORECASE)
    holding = [number for number, passage in enumerate(index.passages) if pattern.search(passage.text)]
    if not holding:
        return []
    scores = index.scores(question)
    citations: dict[tuple[str, int], Citation] = {}
    for number in sorted(holding, key=lambda number: -scores[number]):
        passage = index.passages[number]
        quoted = Citation(passage.document, passage.page, passage.label, passage.section, _quote(passage.text, pattern))
        citations.setdefault((passage.document, passage.page), quoted)
    return list(citations.values())[:MOST_CITATIONS]


def _quote(text: str, pattern: re.Pattern[str]) -> str:
    """The sentence of `text` that holds the match (`text` itself if it crosses sentences), shortened around it."""
    sentence = next((each for each in sentences(text) if pattern.search(each)), text)
    sentence = " ".join(sentence.split())
    if len(sentence) <= QUOTE_CHARACTERS:
        return sentence
    found = pattern.search(sentence)
    middle = found.start() if found else 0
    first = max(0, min(middle - QUOTE_CHARACTERS // 3, len(sentence) - QUOTE_CHARACTERS))
    end = first + QUOTE_CHARACTERS
    return f"{'…' if first else ''}{sentence[first:end].strip()}{'…' if end < len(sentence) else ''}"

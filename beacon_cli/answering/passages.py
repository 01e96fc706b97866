"""Passages: some consecutive sentences of a page, verbatim, so short that several can be read again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import regex

from beacon_cli.answering.terms import UNSPACED
from beacon_cli.cache.pages import PageText

PASSAGE_WORDS = 100
# A full stop before a small letter is an abbreviation, or stands in a record ("Capital. name: Reykjavik"). That of
# Chinese and Japanese needs no space after it.
SENTENCE_END = regex.compile(r"""[.!?…]["'”’»)]*[^\S\n]+(?=[^\s\p{Ll}])|[。！？｡।؟]["'”’」』）)]*[^\S\n]*|\n+""")
# What counts as a word: where there are no spaces between words, each character.
_WORD = regex.compile(rf"[{UNSPACED}]\p{{M}}*|[^\s{UNSPACED}]+")


@dataclass(frozen=True)
class Place:
    """A page of a document, what the document itself calls it, and the headings above it."""

    document: str
    page: int
    label: str | None
    section: str | None


@dataclass(frozen=True)
class Passage(Place):
    """Some consecutive sentences of one page of a document."""

    text: str

    @property
    def headed(self) -> str:
        """The text under the name of its section, which says whose "highest point: 2,469 m" is."""
        return f"{self.section}\n\n{self.text}" if self.section else self.text


def split_passages(pages: Sequence[PageText], document: str = "") -> list[Passage]:
    """Cut every page of a document at sentence ends into passages of up to `PASSAGE_WORDS` words, verbatim."""
    passages = []
    for page in pages:
        text, words = "", 0
        for sentence in sentences(page.text):
            length = len(_WORD.findall(sentence))
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
    first_line = text.rfind("\n", 0, len(text) - len(text.lstrip())) + 1
    return Passage(document, page.number, page.label, page.section, text[first_line:].rstrip())


def sentences(text: str) -> Iterator[str]:
    """All of a text as sentences or lines, each with the white space after it and a line with what it is indented by.

    What has no end in sight is cut between words.
    """
    start = 0
    for end in (*(match.end() for match in SENTENCE_END.finditer(text)), len(text)):
        long = end - start > PASSAGE_WORDS  # others cannot have as many words
        words = [word.start() for word in _WORD.finditer(text, start, end)] if long else []
        cuts = [start, *words[PASSAGE_WORDS::PASSAGE_WORDS], end]
        yield from (text[first:last] for first, last in pairwise(cuts))
        start = end

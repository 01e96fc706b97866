"""What the beacon learns from: documents of several intervals, and questions that only their memory can answer.

A document is made of passages with their questions, or is a piece of a book. Beside the questions, the model is asked
how the text goes on after some words of it, which no question set asks and which needs the words themselves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipes.smollm2.conversations import Ask, read_again
from recipes.smollm2.rows import Layout
from recipes.smollm2.sheets import Lesson
from recipes.smollm2.sources import Passage, Question

RATIOS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Room:
    """How much there is.

    Attributes:
        window: tokens of an interval; a document has at most so many `intervals`.
        rows: of a pass, the document with its beacons and what is asked; the latter and the document's tail: `asked`.
        plain: of a pass that reads uncondensed.
        memory: rows of memory.
    """

    window: int = 512
    intervals: int = 4
    rows: int = 3072
    asked: int = 704
    plain: int = 2816
    memory: int = 768


@dataclass(frozen=True)
class Share:
    """How often what is met.

    Attributes:
        prose: share of documents that are a piece of a book.
        again: share of questions before which passages are read again.
        mixed: share of documents whose intervals have different ratios.
        spans: how often it is asked how the text goes on: in documents of passages, in prose.
        cue, span: tokens of the text that are given, and that are to follow.
        read: tokens that are predicted from the one before: in documents of passages, in prose.
        tail: tokens after the last whole interval, at most.
    """

    prose: float = 0.25
    again: float = 0.15
    mixed: float = 0.25
    spans: tuple[int, int] = (2, 7)
    cue: tuple[int, int] = (8, 16)
    span: tuple[int, int] = (16, 40)
    read: tuple[int, int] = (96, 320)
    tail: int = 96


def draw_ratios(chance: random.Random, share: Share, room: Room) -> list[int]:
    """A ratio for every interval of a document that fits into a pass."""
    left, ratios = room.rows - room.asked, list[int]()
    mixed = chance.random() < share.mixed
    ratio = chance.choice(RATIOS)
    while len(ratios) < room.intervals:
        ratio = chance.choice(RATIOS) if mixed else ratio
        left -= room.window + room.window // ratio
        if left < 0:
            break
        ratios.append(ratio)
    return ratios


class Teacher:
    """Makes lessons, each from a random state of its own.

    Args:
        passages: of every data set, with `weights`.
        books: prose.
    """

    def __init__(
        self,
        layout: Layout,
        passages: Mapping[str, Sequence[Passage]],
        weights: Mapping[str, float],
        books: Sequence[str],
        share: Share = Share(),  # frozen
        room: Room = Room(),  # frozen
    ) -> None:
        self.layout, self.books, self.share, self.room = layout, books, share, room
        self.names = [name for name in weights if passages.get(name)]
        self.weights = [weights[name] for name in self.names]
        self.asked = {name: [p for p in passages[name] if p.questions] for name in self.names}

    def lesson(self, chance: random.Random, intervals: int) -> Lesson:
        """A document of so many whole intervals and a tail, and what is asked of it."""
        share, layout = self.share, self.layout
        tail = chance.randint(0, share.tail)
        length = intervals * self.room.window + tail
        prose = bool(self.books) and chance.random() < share.prose
        if prose:
            ids, questions = self._piece(chance, length), list[Question]()
        else:
            ids, questions = self._passages(chance, length)
        text = layout.decode(ids) if questions else ""
        asks, room = list[tuple[list[int], list[int]]](), self.room.asked - tail
        spans = [self._span(chance, ids) for _ in range(share.spans[prose])]
        chance.shuffle(questions)
        for ask in (*spans, *(self._ask(question, text, chance) for question in questions)):
            size = len(ask[0]) + len(ask[1])
            if size <= room:
                asks.append(ask)
                room -= size
            if room < 24:
                break
        read = sorted(chance.sample(range(1, len(ids)), min(share.read[prose], len(ids) - 1)))
        return Lesson(ids, asks, read)

    def _piece(self, chance: random.Random, length: int) -> list[int]:
        """A piece of a book."""
        ids = list(self.layout.opening)
        while len(ids) < length:
            book = chance.choice(self.books)
            start = book.find("\n", chance.randrange(max(1, len(book) - 8 * length))) + 1
            ids += self.layout.encode(book[start : start + 7 * length])
        return ids[:length]

    def _passages(self, chance: random.Random, length: int) -> tuple[list[int], list[Question]]:
        """Passages one after the other, and the questions about those that stand there whole."""
        ids, questions, used = list(self.layout.opening), list[Question](), set[int]()
        count = sum(len(found) for found in self.asked.values())
        (name,) = chance.choices(self.names, self.weights)
        near = chance.choice(self.asked[name]).group if chance.random() < 0.4 else None
        while len(ids) < length:
            found = [p for p in self.asked[name] if p.group == near and id(p) not in used] if near else []
            if not found:
                (name,) = chance.choices(self.names, self.weights)
            passage = chance.choice(found or self.asked[name])
            if id(passage) in used and len(used) < count:
                continue
            used.add(id(passage))
            more = self.layout.ids(passage.text + "\n\n")
            if len(ids) + len(more) <= length:
                questions += passage.questions
            ids += more
        return ids[:length], questions

    def _ask(self, question: Question, text: str, chance: random.Random) -> tuple[list[int], list[int]]:
        again = read_again(text, question.text) if chance.random() < self.share.again else ()
        request = Ask(question, again).text()
        before = [*self.layout.encode(request), *self.layout.closing]
        return before, [*self.layout.encode(question.target), self.layout.end]

    def _span(self, chance: random.Random, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """How the text goes on after some words."""
        cue, span = chance.randint(*self.share.cue), chance.randint(*self.share.span)
        start = chance.randrange(len(self.layout.opening), len(ids) - cue - span)
        words = self.layout.decode(ids[start : start + cue])
        request = Ask(Question(f"How does the text go on after “{words}”?", ())).text()
        target = list(ids[start + cue : start + cue + span])
        return [*self.layout.encode(request), *self.layout.closing], [*target, self.layout.end]

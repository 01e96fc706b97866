"""What is asked of which document: a passage among others, and all that is asked about any of them.

The layout is the tool's own (`beacon_cli/answering/prompts.py`): the document, passages of it that are read again, a
rule, the question.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beacon_cli.answering.prompts import RULE, question_text
from recipes.smollm2.alterations import Alterations
from recipes.smollm2.sources import Passage, Question

PASSAGE_WORDS = 100
# Data sets whose answers stand in the text word for word, in prose that names what it is about.
ALTERED = ("squad", "quoref", "adversarialqa")
_SENTENCE_END = re.compile(r"""(?<=[.!?])["'”’)]*\s+(?=[^\sa-z])|\n+""")


@dataclass(frozen=True)
class Ask:
    """A question of a conversation.

    Attributes:
        again: passages of the document that stand before it once more.
    """

    question: Question
    again: tuple[str, ...] = ()

    def text(self, *, first: bool = True) -> str:
        """What follows the document or, if it is not the first, the answer before."""
        return question_text(self.question.text, self.again, first=first)


@dataclass(frozen=True)
class Conversation:
    """A document and what is asked about it.

    Attributes:
        turns: whether a question comes after the ones before and their answers; if not, each is asked as the first.
        ahead: whether the question, of which there is one, stands before the document, too.
    """

    document: str
    asks: tuple[Ask, ...]
    turns: bool
    ahead: bool = False

    def opening(self) -> str:
        """What all of its questions follow."""
        return ahead_of(self.asks[0].question, self.document) if self.ahead else self.document


def ahead_of(question: Question, document: str) -> str:
    """The document, read with the question in mind: a decoder's tokens know nothing of what comes after them."""
    return f"{question_text(question.text, first=False)}{RULE}{document}"


@dataclass(frozen=True)
class Mix:
    """How often what is met.

    Attributes:
        sources: weight of every data set.
        distractors: weight of 0, 1, 2 … further passages.
        near: share of these from the same article, country or story.
        foreign: share of questions that are about something else.
        ahead: share of conversations of one question, which stands before the document, too.
        altered: share of passages in which names and numbers are others, of the data sets in `ALTERED`.
        cut: share of passages of which a sentence with an answer is left out, which makes its question unanswerable.
        again: share of conversations in which passages are read again.
        turns: share of conversations that go on.
        questions: at most so many a conversation.
        questions_again: at most so many where passages are read again, which is said anew for each.
        words: of a document, at most.
    """

    sources: Mapping[str, float]
    distractors: Sequence[float] = (0.45, 0.12, 0.1, 0.1, 0.11, 0.12)
    near: float = 0.65
    foreign: float = 0.1
    ahead: float = 0.0
    altered: float = 0.0
    cut: float = 0.15
    again: float = 0.15
    turns: float = 0.25
    questions: int = 24
    questions_again: int = 4
    words: int = 950


class Composer:
    """Makes conversations of passages, each from a random state of its own.

    Args:
        passages: of every data set. One without questions serves as a distractor.
    """

    def __init__(self, passages: Mapping[str, Sequence[Passage]], mix: Mix) -> None:
        self.mix = mix
        self.sources = [source for source in mix.sources if passages.get(source)]
        self.weights = [mix.sources[source] for source in self.sources]
        self.all = {source: list(passages[source]) for source in self.sources}
        self.asked = {source: [p for p in found if p.questions] for source, found in self.all.items()}
        altered = [source for source in self.sources if source in ALTERED] if mix.altered else []
        self.alterations = {source: Alterations(self.all[source]) for source in altered}
        self.group: dict[tuple[str, str], list[Passage]] = {}
        for found in self.all.values():
            for passage in found:
                self.group.setdefault((passage.source, passage.group), []).append(passage)

    def conversation(self, chance: random.Random) -> Conversation:
        """One more conversation."""
        mix = self.mix
        (source,) = chance.choices(self.sources, self.weights)
        passage = whole = chance.choice(self.asked[source])
        if source in self.alterations and chance.random() < mix.altered:
            passage = self.alterations[source].altered(passage, chance)
        if chance.random() < mix.cut:
            passage = without_sentence(passage, chance)
        (count,) = chance.choices(range(len(mix.distractors)), mix.distractors)
        others = [other for _ in range(count) if (other := self._other(passage, chance)) is not whole]
        document = shuffled(passage, others, mix.words, chance)
        text = "\n\n".join(p.text for p in document)
        # The passage's own questions come first where not all are asked; which of them, and the order, is chance.
        own = chance.sample(passage.questions, len(passage.questions))
        more = [question for p in document if p is not passage for question in p.questions]
        again = chance.random() < mix.again
        most = mix.questions_again if again else mix.questions
        questions = [*own[:most], *chance.sample(more, min(len(more), max(0, most - len(own))))]
        foreign = sum(chance.random() < mix.foreign for _ in questions)
        questions += [q for _ in range(foreign) if (q := self._foreign(passage, document, chance)) is not None]
        chance.shuffle(questions)
        if mix.ahead and chance.random() < mix.ahead:
            return Conversation(text, (Ask(questions[0]),), turns=False, ahead=True)
        asks = [Ask(q, read_again(text, q.text) if again else ()) for q in questions[:most]]
        return Conversation(text, tuple(asks), chance.random() < mix.turns)

    def _other(self, passage: Passage, chance: random.Random) -> Passage:
        """A distractor."""
        near = self.group[passage.source, passage.group]
        if len(near) > 1 and chance.random() < self.mix.near:
            return chance.choice(near)
        # A country's sections that nobody asks about look like no other's: those that are asked about are the harder.
        found = self.asked if chance.random() < 0.7 else self.all
        (source,) = chance.choices(self.sources, self.weights) if chance.random() < 0.2 else (passage.source,)
        return chance.choice(found[source])

    def _foreign(self, passage: Passage, document: Sequence[Passage], chance: random.Random) -> Question | None:
        """A question whose answer the document does not hold; none if chance finds one that it may."""
        near = self.group[passage.source, passage.group]
        other = chance.choice(near if chance.random() < 0.4 else self.asked[passage.source])
        same = any(p.group == other.group for p in document)
        if not other.questions or any(p is other for p in document):
            return None
        question = chance.choice(other.questions)
        text = " ".join(p.text for p in document).casefold()
        held = any(answer.casefold() in text for answer in question.answers)
        return None if same and held else Question(question.text, ())


def without_sentence(passage: Passage, chance: random.Random) -> Passage:
    """The passage without one sentence that holds an answer; what only it answered has no answer any more.

    Questions that may have another answer, for theirs stands elsewhere too, go. As it was if there is no such sentence.
    """
    answered = [question for question in passage.questions if question.answers]
    if not answered:
        return passage
    answers = chance.choice(answered).answers
    sentences = [sentence for sentence in _SENTENCE_END.split(passage.text) if sentence]
    holding = [sentence for sentence in sentences if any(answer in sentence for answer in answers)]
    if len(holding) != 1 or len(sentences) < 3:
        return passage
    text = re.sub(" {2,}", " ", passage.text.replace(holding[0], "")).strip()
    questions = []
    for question in passage.questions:
        if not any(answer in holding[0] for answer in question.answers):
            questions.append(question)
        elif not any(answer in text for answer in question.answers):
            questions.append(Question(question.text, ()))
    return Passage(passage.source, passage.group, text, tuple(questions))


def shuffled(passage: Passage, others: Sequence[Passage], words: int, chance: random.Random) -> list[Passage]:
    """A document: the passage and, in any order, those of the others that fit into so many words."""
    document, length = [passage], len(passage.text.split())
    for other in others:
        more = len(other.text.split())
        if length + more <= words and not any(other is p for p in document):
            document.append(other)
            length += more
    chance.shuffle(document)
    return document


def read_again(document: str, question: str, count: int = 2) -> tuple[str, ...]:
    """The pieces of up to `PASSAGE_WORDS` words that share most with the question, best last.

    A short stand-in for the tool's own search: rare words count more, and only their first letters.
    """
    pieces = _pieces(document)
    words = [set(_stems(piece)) for piece in pieces]
    often = Counter(word for found in words for word in found)
    wanted = set(_stems(question))
    score = [sum(math.log(1 + len(pieces) / often[word]) for word in found & wanted) for found in words]
    best = sorted(range(len(pieces)), key=lambda index: -score[index])[:count]
    return tuple(pieces[index] for index in reversed(best))


def _pieces(document: str) -> list[str]:
    pieces, current, length = list[str](), list[str](), 0
    for paragraph in document.split("\n\n"):
        for sentence in filter(None, _SENTENCE_END.split(paragraph)):
            words = len(sentence.split())
            if current and length + words > PASSAGE_WORDS:
                pieces.append(" ".join(current))
                current, length = [], 0
            current.append(sentence)
            length += words
    return [*pieces, " ".join(current)] if current else pieces


def _stems(text: str) -> list[str]:
    return [word[:5] for word in re.findall(r"\w+", text.casefold()) if len(word) > 3 or word.isdigit()]

"""Passages in which names and numbers are others, so that what is known of the passage by heart does not answer.

A small model learns the few thousand passages that there are by heart, and with them which question has no answer. In
an altered passage, what a question names may no longer be named, and an answer is no longer the one that it was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from recipes.smollm2.sources import Passage, Question

_NAME = re.compile(r"\b[A-Z][\w'’]*(?:[ -](?:(?:of|the|de|von|van|and) )?[A-Z][\w'’]*)*")
_NUMBER = re.compile(r"(?<![\w.,])\d(?:[\d,.]*\d)?(?!\w)")
_YEAR = re.compile(r"1\d{3}|20\d\d")
_SENTENCE_BEGINS = re.compile(r"(?:^|[.!?:\n])[\s\"'“‘(]*$")
_MONTHS = frozenset(
    {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"}
    | {"December"}
)
# How often another of the same article is tried first, for it misleads more; so many tries in all.
_NEAR, _TRIES = 0.6, 6


def subjects(text: str) -> list[str]:
    """Names and numbers of a text. A name at the beginning of a sentence counts if it is one elsewhere, too."""
    found = list[str]()
    for match in _NAME.finditer(text):
        name = re.sub(r"['’]s$", "", match.group())
        begins = _SENTENCE_BEGINS.search(text, 0, match.start())
        if begins and not re.search(rf"[a-z,] {re.escape(name)}\b", text):
            _, _, rest = name.partition(" ")
            name = rest if rest[:1].isupper() else ""
        if len(name) > 2:
            found.append(name)
    return list(dict.fromkeys([*found, *_NUMBER.findall(text)]))


class Alterations:
    """Alters passages of a data set; what it puts in comes from the others."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._all = dict[str, dict[str, None]]()
        self._near = dict[tuple[str, str], dict[str, None]]()
        for passage in passages:
            for subject in subjects(passage.text):
                form = _form(subject)
                self._all.setdefault(form, {})[subject] = None
                self._near.setdefault((passage.group, form), {})[subject] = None
        self._lists = {form: list(found) for form, found in self._all.items()}
        self._near_lists = {key: list(found) for key, found in self._near.items()}

    def altered(self, passage: Passage, chance: random.Random) -> Passage:
        """The passage with one to three names or numbers replaced, wherever they stand.

        Answers change with it. Questions that name what is replaced name the new one, or, as often, have no answer any
        more. Questions that name a part of it go, for nobody can tell. As it was if nothing is left to be asked.
        """
        text, questions, words = passage.text, list(passage.questions), subjects(passage.text)
        asked = "\n".join(question.text for question in questions)
        for _ in range(chance.randint(1, 3)):
            likely = [word for word in words if word in asked] if chance.random() < 0.5 else []
            if not words:
                break
            old = chance.choice(likely or words)
            words = [word for word in words if word not in old and old not in word]
            new = self._other(old, f"{passage.text}\n{text}", passage.group, chance)
            if new is None:
                continue
            change = _Change(old, new)
            text = change.in_text(text)
            renamed = chance.random() < 0.5
            questions = [kept for each in questions if (kept := change.in_question(each, renamed)) is not None]
        left = tuple(each for each in questions if not each.answers or any(answer in text for answer in each.answers))
        return Passage(passage.source, passage.group, text, left) if left else passage

    def _other(self, old: str, text: str, group: str, chance: random.Random) -> str | None:
        """What may stand in its place and does not stand in the text yet; None if chance finds nothing."""
        form = _form(old)
        for _ in range(_TRIES):
            near = self._near_lists[group, form] if chance.random() < _NEAR else self._lists[form]
            new = chance.choice(near)
            if new.casefold() not in text.casefold() and old.casefold() not in new.casefold():
                return new
        return None


class _Change:
    """`new` in the place of `old`, where it stands as a word of its own."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new
        self._places = re.compile(rf"(?<!\w){re.escape(old)}(?!\w)(?![.,]\d)")
        self._parts = [part for part in old.split() if len(part) > 2 and part[0].isupper()]

    def in_text(self, text: str) -> str:
        return self._places.sub(lambda _: self.new, text)

    def in_question(self, question: Question, renamed: bool) -> Question | None:
        answers = tuple(map(self.in_text, question.answers))
        if not self._places.search(question.text):
            partly = self.old.casefold() in question.text.casefold()
            partly = partly or any(part in question.text for part in self._parts)
            return Question(question.text, answers) if not partly else None if answers else question
        if renamed:
            return Question(self.in_text(question.text), answers)
        # An answer that holds it could be given still.
        return None if answers != question.answers else Question(question.text, ())


def _form(subject: str) -> str:
    """Alike for what may stand in each other's places: numbers written alike, months, names of as many words."""
    if subject[0].isdigit():
        return re.sub(r"\d", "0", subject) + (" a year" if _YEAR.fullmatch(subject) else "")
    if subject in _MONTHS:
        return "a month"
    return f"{min(3, len(subject.split()))} {subject.isupper()} {subject.endswith('s')}"

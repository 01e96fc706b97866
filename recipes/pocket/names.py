"""Invented names of people, places, organisations and things, with open-ended spellings."""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence

from recipes.pocket import lists

WORDS = lists.read("words.txt")


class Names:
    """Makes up names by syllables and by a character model of given words; some are real first names.

    A name belongs to the evaluation when its checksum says so: training never uses it (`held_out=False`), evaluation
    uses no other (`held_out=True`).
    """

    def __init__(self, rng: random.Random, vocabulary: Sequence[str], held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out
        self._next: dict[str, list[str]] = defaultdict(list)
        for word in vocabulary:
            padded = f"^^^{word.lower()}$"
            for i in range(3, len(padded)):
                self._next[padded[i - 3 : i]].append(padded[i])

    def word(self) -> str:
        """One invented, capitalised word."""
        while True:
            made = self._syllables() if not self._next or self.rng.random() < 0.35 else self._markov()
            if 3 <= len(made) <= 11 and (zlib.crc32(made.encode()) % 20 == 0) == self.held_out:
                return made.capitalize()

    def _syllables(self) -> str:
        rng = self.rng
        count = rng.choice((1, 2, 2, 2, 3))
        return "".join(
            rng.choice(WORDS["onsets"]) + rng.choice(WORDS["vowels"]) + rng.choice(WORDS["codas"]) for _ in range(count)
        )

    def _markov(self) -> str:
        made, state = "", "^^^"
        while len(made) < 12:
            letter = self.rng.choice(self._next[state])
            if letter == "$":
                break
            made += letter
            state = state[1:] + letter
        return made if made.isalpha() else ""

    def first(self) -> str:
        return self.rng.choice(WORDS["first"]) if not self.held_out and self.rng.random() < 0.15 else self.word()

    def person(self) -> str:
        rng, roll = self.rng, self.rng.random()
        if roll < 0.15:
            return self.word()
        if roll < 0.85:
            return f"{self.first()} {self.word()}"
        if roll < 0.92:
            return f"{self.first()} {self.word()} {self.word()}"
        return f"{rng.choice(('Dr.', 'Mr.', 'Mrs.', 'Captain', 'Professor', 'Miss'))} {self.word()}"

    def place(self) -> str:
        rng, roll = self.rng, self.rng.random()
        if roll < 0.6:
            return self.word()
        if roll < 0.8:
            return self.word()[:6] + rng.choice(WORDS["place_tails"])
        return f"{rng.choice(('New', 'Port', 'Saint', 'Upper', 'Lake', 'Fort', 'Great', 'East', 'Old'))} {self.word()}"

    def org(self) -> str:
        rng = self.rng
        noun = rng.choice(WORDS["org_nouns"])
        middle = rng.choice(("", "", "", " " + rng.choice(WORDS["goods"]).title()))
        return rng.choice(
            (f"the {self.word()}{middle} {noun}", f"{self.word()}{middle} {noun}", f"{self.word()} & {self.word()}")
        )

    def thing(self) -> str:
        """A named object: "the Tarvik lamp", "the old clock of Mirel", "Ostan's iron key"."""
        rng = self.rng
        adjective, noun = rng.choice(WORDS["adjectives"]), rng.choice(WORDS["nouns"])
        return rng.choice(
            (
                f"the {self.word()} {noun}",
                f"the {adjective} {noun} of {self.word()}",
                f"{self.word()}'s {adjective} {noun}",
                f"the {adjective} {noun}",
                f"the {adjective} {noun} number {rng.randint(2, 99)}",
            )
        )

    def building(self) -> str:
        noun = self.rng.choice(WORDS["buildings"])
        return self.rng.choice(
            (f"the {self.word()} {noun}", f"the {noun} of {self.word()}", f"{self.word()} {noun.title()}")
        )

    def ship(self) -> str:
        rng = self.rng
        return rng.choice(
            (
                self.word(),
                f"{rng.choice(WORDS['adjectives']).title()} {self.word()}",
                f"{self.word()} Star",
                f"Queen {self.word()}",
            )
        )

    def book(self) -> str:
        rng = self.rng
        adjective, noun = rng.choice(WORDS["adjectives"]).title(), rng.choice(WORDS["nouns"]).title()
        title = rng.choice(
            (
                f"The {adjective} {noun}",
                f"{self.word()} and the {noun}",
                f"The {noun} of {self.word()}",
                f"{adjective} {self.word()}",
            )
        )
        return f'"{title}"'

    def project(self) -> str:
        noun = self.rng.choice(WORDS["projects"])
        return self.rng.choice(
            (f"the {self.word()} {noun}", f"{noun.title()} {self.word()}", f"the {noun} of {self.word()}")
        )

    def beast(self) -> str:
        animal = self.rng.choice(WORDS["animals"])
        return self.rng.choice((self.word(), f"the {animal} {self.word()}", f"{self.word()} the {animal}"))


def entity_makers(names: Names) -> dict[str, Callable[[], str]]:
    """Subject kind -> a function that makes one entity's name."""
    return {
        "person": names.person,
        "land": names.place,
        "building": names.building,
        "ship": names.ship,
        "org": names.org,
        "object": names.thing,
        "book": names.book,
        "project": names.project,
        "beast": names.beast,
    }

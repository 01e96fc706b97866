"""Documents with questions, from the generator and the corpora, and the mix of them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from beacon_cli.passages import find_passages, split_passages
from beacon_cli.store import PageText
from recipes.pocket import corpora
from recipes.pocket.generate import UNANSWERABLE, Block, Fact, Generator
from recipes.pocket.writing import SUMMARY, Sample, Writer

_NUMBERED = (
    "pass key", "access code", "secret number", "locker number", "account number", "winning number", "door code",
    "magic number", "serial number", "ticket number", "safe combination", "order number",
)  # fmt: skip
CONTINUED = 40  # words
_REMEMBERED = (
    "The {n} is {v}. Remember it: {v} is the {n}.",
    "The {n} is {v}. Remember it. {v} is the {n}.",
    "Remember: the {n} is {v}.",
    "The {n} is {v}.",
)
_FIELD = re.compile(r"^([A-Z][A-Za-z /()-]{2,40})\. ((?:[a-z][a-z ]{2,40}: )?)([^\n;:]{1,80})$", re.MULTILINE)


@dataclass(frozen=True)
class Plan:
    """What a stage of the curriculum draws from: facts per sequence and the shares of the sources."""

    facts: tuple[int, int]
    generated: float = 0.55
    factbook: float = 0.2
    passages: float = 0.3
    unanswerable: float = 0.06
    summary: float = 0.03
    bare: float = 0.0  # share of generated documents without any filler
    questions: int = 16  # at most, on a report or on paragraphs
    reread: float = 0.0  # share of questions about passages found by the tool
    continued: float = 0.0  # share of texts of which a part is to be continued word for word
    keys: float = 0.0  # share of texts that repeat themselves, with a number hidden in them


class Composer(Writer):
    """Makes samples of a given length from the generator and the corpora."""

    def __init__(
        self, root: Path, tokenizer: Tokenizer, seed: int, held_out: bool = False, wording: str = "known"
    ) -> None:
        super().__init__(root, tokenizer, random.Random(seed), held_out)
        self.generator = Generator(seed, corpora.names(root), held_out, wording)
        self.summaries = [] if held_out else corpora.summaries(root)

    def generated(self, length: int, plan: Plan) -> Sample | None:
        rng, gen = self.rng, self.generator
        blocks = gen.blocks(rng.randint(*plan.facts))
        facts = [fact for block in blocks for fact in block.facts]
        asked = [(fact.question, fact.answer) for fact in facts]
        rng.shuffle(asked)
        asked = [(gen.missing(facts), UNANSWERABLE) if rng.random() < plan.unanswerable else pair for pair in asked]
        singles = [block for block in blocks if block.inline]
        passages: list[str] = []
        if rng.random() < plan.passages:
            blocks, passages, asked = self._reread(blocks, facts, asked, length)
        elif rng.random() < plan.summary * 2 and len(singles) == len(blocks) <= 3:
            ordered = blocks
            filler = self.filler(length // 2 - 40)
            document = self.hide(ordered, filler)
            ordered = sorted(ordered, key=lambda block: document.find(block.text))
            told = self.assemble(document, [(SUMMARY, " ".join(block.text for block in ordered))])
            return told if len(told.ids) <= length else None
        while blocks or passages:
            sample = self.fitted(length, blocks, asked, passages, rng.random() < plan.bare)
            if sample is not None:
                return sample
            if len(asked) > 1:
                asked = asked[: max(1, len(asked) // 2)]
            else:
                return None
        return None

    def _reread(
        self, blocks: list[Block], facts: list[Fact], asked: list[tuple[str, str]], length: int
    ) -> tuple[list[Block], list[str], list[tuple[str, str]]]:
        """Puts some blocks (with some filler around them) into passages; half of the time they leave the document."""
        rng = self.rng
        chosen = rng.sample(blocks, min(len(blocks), rng.randint(1, 3)))
        room = max(0, min(80, length // 12))
        passages = []
        for block in chosen:
            around = self.filler(rng.randint(0, room))
            passages.append(self.hide([block], around))
        for _ in range(rng.choice((0, 0, 1, 2)) if length >= 256 else 0):
            other = self.filler(room)
            if other:
                passages.append(" ".join(other).strip())
        rng.shuffle(passages)
        inside = {fact.question for block in chosen for fact in block.facts}
        asked = sorted(asked, key=lambda pair: pair[0] not in inside)
        if rng.random() < 0.5:
            blocks = [block for block in blocks if block not in chosen]
        else:
            passages = [passage for passage in passages if len(passage) < 700]
        return blocks, [passage for passage in passages if passage], asked

    def from_noise(self, length: int) -> Sample | None:
        """A few sentences over and over, and somewhere one or two numbers to remember."""
        rng = self.rng
        noise = (" ".join(self.filler(rng.randint(20, 90))).strip() or "Nothing happens.") + rng.choice((" ", "\n\n"))
        hidden, asked = [], []
        for name in rng.sample(_NUMBERED, rng.choice((1, 1, 2))):
            value = str(rng.randint(10_000, 99_999) if rng.random() < 0.8 else rng.randint(100, 9_999_999))
            hidden.append(rng.choice(_REMEMBERED).format(n=name, v=value))
            asked.append((f"What is the {name}?", value))
        room = int(2.2 * length)
        for _ in range(4):
            text = noise * (room // len(noise) + 1)
            for statement in hidden:
                at = rng.randrange(room) // len(noise) * len(noise)
                text = text[:at] + statement + rng.choice((" ", "\n\n")) + text[at:]
            sample = self.assemble(text.strip(), asked)
            if len(sample.ids) <= length:
                return sample
            room = int(room * 0.8)
        return None

    def continuation(self, length: int) -> Sample | None:
        """A few words of a text, of which the next ones are to be said: nearly all that it holds is asked for."""
        rng = self.rng
        document = self.hide(self.generator.blocks(rng.randint(1, 6)), self.filler(rng.randint(length // 2, length)))
        words = document.split(" ")
        while len(words) > 12:
            said = rng.randint(8, min(CONTINUED, len(words) - 4))
            start = rng.randrange(len(words) - said - 3)
            cue, rest = words[start : start + 4], words[start + 4 : start + 4 + said]
            sample = self.assemble(" ".join(words), [(f"What follows “{' '.join(cue)}”?", " ".join(rest).strip())])
            if len(sample.ids) <= length:
                return sample
            words = words[: -max(1, (len(sample.ids) - length) // 3)]
        return None

    def from_country(self, length: int, plan: Plan) -> Sample | None:
        rng = self.rng
        country = rng.choice(self.countries)
        parts = country.text.split("\n\n")
        start = rng.randrange(len(parts))
        window, used, budget = [], 0, length * 2.1
        for part in parts[start:]:
            if used + len(part) > budget:
                break
            window.append(part)
            used += len(part)
        text = "\n\n".join(window)
        asked = [(question, answer) for question, answer in country.questions if answer in text and len(answer) <= 60]
        asked += self._fields(country, text)[: max(0, 16 - len(asked))]
        if not asked:
            return None
        if rng.random() < 0.6:
            text = f"{country.title}\n\n{text}"
        rng.shuffle(asked)
        text, asked = self._renamed(country.title, text, asked)
        return self.with_room(length, text, asked[: plan.questions])

    def _fields(self, country: corpora.Reading, text: str) -> list[tuple[str, str]]:
        """Questions about the short entries of a report, or of a part of it."""
        rng, asked = self.rng, []
        for header, sub, value in _FIELD.findall(text):
            label = (
                sub.rstrip(": ") + " (" + header.lower() + ")"
                if sub and (" " not in sub.rstrip(": ") or rng.random() < 0.5)  # "total" alone says nothing
                else sub.rstrip(": ") or header.lower()
            )
            question = rng.choice(
                (
                    f"What is the {label} of {country.title}?",
                    f"{country.title}: {label}?",
                    f"What does the report on {country.title} give as {label}?",
                )
            )
            if text.count(f"{header}. ") == 1 and len(value) <= 60:
                asked.append((question, value.strip()))
        return asked

    def _renamed(self, title: str, text: str, asked: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
        """Half of the time under an invented name, or what is known of a country would do for an answer."""
        if self.rng.random() < 0.5:
            return text, asked
        name = self.generator.names.place()
        return text.replace(title, name), [(q.replace(title, name), a.replace(title, name)) for q, a in asked]

    def reread(self, length: int, plan: Plan) -> Sample | None:
        """Questions about passages that the tool itself has found, behind a document that may be another."""
        rng = self.rng
        if rng.random() < 0.7:
            country = rng.choice(self.countries)
            asked = [pair for pair in country.questions if len(pair[1]) <= 60] + self._fields(country, country.text)
            text, asked = self._renamed(country.title, f"{country.title}\n\n{country.text}", asked)
        else:
            readings = rng.sample(self.paragraphs, min(10, len(self.paragraphs)))
            text = "\n\n".join(reading.text for reading in readings)
            asked = [pair for reading in readings for pair in reading.questions if pair[1]]
        if not asked:
            return None
        rng.shuffle(asked)
        pieces = split_passages([PageText(1, "1", text, 0, 0)])
        passages = [passage.text for passage in find_passages(pieces, asked[0][0], rng.choice((1, 2, 2, 3)))]
        again = "\n\n".join(passages)
        asked = [pair for pair in asked if pair[1] in again][: rng.randint(1, plan.questions)]
        if not asked:
            return None
        room = length - len(self.assemble("", asked, passages).ids)
        if room < 0:
            return None
        start = rng.randrange(len(text))
        document = text[start : start + 2 * room] if rng.random() < 0.5 else " ".join(self.filler(int(room * 0.7)))
        sample = self.assemble(document.strip(), asked, passages)
        return sample if len(sample.ids) <= length else self.assemble("", asked, passages)

    def from_paragraphs(self, length: int, plan: Plan) -> Sample | None:
        rng = self.rng
        texts: list[str] = []
        asked: list[tuple[str, str]] = []
        used = 0
        for _ in range(12):
            reading = rng.choice(self.paragraphs)
            if used + len(reading.text) > length * 2.5:
                continue
            texts.append(reading.text)
            used += len(reading.text)
            fresh = [pair for pair in reading.questions if pair[1] or rng.random() < 0.15]
            asked += [(q, a or UNANSWERABLE) for q, a in rng.sample(fresh, min(len(fresh), 10))]
            if rng.random() < 0.35:
                break
        if not asked:
            return None
        rng.shuffle(asked)
        return self.with_room(length, "\n\n".join(texts), asked[: plan.questions])

    def summarized(self, length: int) -> Sample | None:
        """The beginning of a section or of a story, as much as there is room for, and its summary's."""
        if length < 512 or not self.summaries:
            return None
        text, summary = self.rng.choice(self.summaries)
        sample = self.assemble(corpora.beginning(text, int(length * 2.9)), [(SUMMARY, summary)])
        return sample if len(sample.ids) <= length else None

    def sample(self, length: int, plan: Plan) -> Sample:
        """One sample of at most `length` tokens."""
        while True:
            if self.rng.random() < plan.keys:
                made = self.from_noise(length)
                if made is not None:
                    return made
            if self.rng.random() < plan.continued:
                made = self.continuation(length)
                if made is not None:
                    return made
            if self.rng.random() < plan.reread:
                made = self.reread(length, plan)
                if made is not None:
                    return made
            roll = self.rng.random()
            if roll < plan.generated:
                made = self.generated(length, plan)
            elif roll < plan.generated + plan.factbook:
                made = self.from_country(length, plan)
            elif roll > 1 - plan.summary:
                made = self.summarized(length)
            else:
                made = self.from_paragraphs(length, plan)
            if made is not None:
                return made

    def batch(self, length: int, size: int, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """`size` samples padded to `length`: ids int16 (size, length), and answer marks bool of the same shape."""
        ids = np.full((size, length), self.pad, dtype=np.int16)
        answer = np.zeros((size, length), dtype=bool)
        for row in range(size):
            sample = self.sample(length, plan)
            ids[row, : len(sample.ids)] = sample.ids
            answer[row, : len(sample.ids)] = sample.answer
        return ids, answer

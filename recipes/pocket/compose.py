"""Documents with questions as token sequences: the prompt format, fillers, passages, and the mix of sources."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from recipes.pocket import corpora
from recipes.pocket.generate import UNANSWERABLE, Block, Fact, Generator

RULE = "\n\n---\n\n"
QUESTION = "Question: "
PASSAGES = "Passages read again:\n\n"
SUMMARY = "Summarize the text above in a few sentences."
_NUMBERED = (
    "pass key", "access code", "secret number", "locker number", "account number", "winning number", "door code",
    "magic number", "serial number", "ticket number", "safe combination", "order number",
)  # fmt: skip
_REMEMBERED = (
    "The {n} is {v}. Remember it: {v} is the {n}.",
    "The {n} is {v}. Remember it. {v} is the {n}.",
    "Remember: the {n} is {v}.",
    "The {n} is {v}.",
)
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z\"“])")
_FIELD = re.compile(r"^([A-Z][A-Za-z /()-]{2,40})\. ((?:[a-z][a-z ]{2,40}: )?)([^\n;:]{1,80})$", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """A chat as (what the user says, the answer) and as token ids.

    `answer` says of every token whether it is an answer's (its end token included).
    """

    turns: list[tuple[str, str]]
    ids: list[int]
    answer: list[bool]


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
    keys: float = 0.0  # share of texts that repeat themselves, with a number hidden in them


class Composer:
    """Makes samples of a given length from the generator and the corpora."""

    def __init__(
        self, root: Path, tokenizer: Tokenizer, seed: int, held_out: bool = False, wording: str = "known"
    ) -> None:
        self.rng = random.Random(seed)
        self.tokenizer = tokenizer
        self.generator = Generator(seed, corpora.names(root), held_out, wording)
        self.books = corpora.books(root, haystacks=held_out)
        self.countries = corpora.countries(root, held_out)
        self.paragraphs = corpora.paragraphs(root, held_out)
        self.sections = [] if held_out else corpora.textbook(root)
        self.summaries = [] if held_out else corpora.summaries(root)
        self.user, self.assistant = self._token("<|user|>"), self._token("<|assistant|>")
        self.end, self.pad = self._token("<|end|>"), self._token("<|pad|>")

    def _token(self, name: str) -> int:
        token = self.tokenizer.token_to_id(name)
        assert token is not None, f"the tokenizer has no {name}"
        return token

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    # fillers

    def filler(self, tokens: int) -> list[str]:
        """Sentences of real text, about `tokens` together; a line break at a sentence's end stays with it."""
        if tokens < 12:
            return []
        roll = self.rng.random()
        chars = int(tokens * 3.3)
        if roll < 0.8 or not self.sections:
            text = self.rng.choice(self.books)
        elif roll < 0.88:
            text = self.rng.choice(self.countries).text
        elif roll < 0.95:
            text = self.rng.choice(self.sections)
        else:
            text = "\n\n".join(reading.text for reading in self.rng.sample(self.paragraphs, 12))
        start = self.rng.randrange(max(1, len(text) - chars - 400))
        window = text[start : start + chars + 300]
        pieces = [piece for part in window.split("\n\n") for piece in [*_SENTENCE.split(part), "\n\n"]][1:-2]
        kept: list[str] = []
        used = 0
        for piece in pieces:
            used += len(piece) + 1
            if used > chars:
                break
            kept.append(piece)
        return kept

    def hide(self, blocks: Sequence[Block], filler: list[str]) -> str:
        """The blocks at random places of the filler: single sentences within its paragraphs, the rest between them."""
        slots: list[list[str]] = [[] for _ in range(len(filler) + 1)]
        for block in blocks:
            alone = not block.inline or self.rng.random() < 0.35
            slots[self.rng.randrange(len(slots))].append(f"\n\n{block.text}\n\n" if alone else block.text)
        pieces = slots[0]
        for sentence, slot in zip(filler, slots[1:], strict=True):
            pieces += [sentence, *slot]
        return re.sub(r" *\n\n\s*", "\n\n", " ".join(pieces)).strip()

    # the prompt format

    def assemble(self, document: str, asked: Sequence[tuple[str, str]], passages: Sequence[str] = ()) -> Sample:
        """The chat of one document: `asked` are (question or request, answer); the first is in its turn."""
        turns: list[tuple[str, str]] = []
        ids: list[int] = []
        answer: list[bool] = []
        for i, (question, reply) in enumerate(asked):
            turn = question if question == SUMMARY else QUESTION + question
            if i == 0:
                again = PASSAGES + "\n\n".join(passages) + RULE if passages else ""
                turn = document + RULE + again + turn
            prompt = [self.user, *self.encode(turn), self.end, self.assistant]
            said = [*self.encode(reply), self.end]
            turns.append((turn, reply))
            ids += prompt + said
            answer += [False] * len(prompt) + [True] * len(said)
        return Sample(turns, ids, answer)

    def fitted(
        self, length: int, blocks: list[Block], asked: list[tuple[str, str]], passages: Sequence[str], bare: bool
    ) -> Sample | None:
        """The sample with as much filler as `length` leaves room for; None where even the facts do not fit."""
        core = len(self.assemble("\n\n".join(block.text for block in blocks), asked, passages).ids)
        if core > length:
            return None
        room = 0 if bare else length - core - 2 * len(blocks)
        for _ in range(4):
            document = self.hide(blocks, self.filler(room))
            sample = self.assemble(document, asked, passages)
            if len(sample.ids) <= length:
                return sample
            room -= len(sample.ids) - length + 8
        return None

    # sources

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

    def from_country(self, length: int) -> Sample | None:
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
        for header, sub, value in _FIELD.findall(text):
            label = (
                sub.rstrip(": ") + " (" + header.lower() + ")"
                if sub and rng.random() < 0.5
                else sub.rstrip(": ") or header.lower()
            )
            question = rng.choice(
                (
                    f"What is the {label} of {country.title}?",
                    f"{country.title}: {label}?",
                    f"What does the report on {country.title} give as {label}?",
                )
            )
            if text.count(f"{header}. ") == 1 and len(value) <= 60 and len(asked) < 16:
                asked.append((question, value.strip()))
        if not asked:
            return None
        if rng.random() < 0.6:
            text = f"{country.title}\n\n{text}"
        if rng.random() < 0.5:
            name = self.generator.names.place()
            text = text.replace(country.title, name)
            asked = [(q.replace(country.title, name), a.replace(country.title, name)) for q, a in asked]
        rng.shuffle(asked)
        return self._with_room(length, text, asked)

    def from_paragraphs(self, length: int) -> Sample | None:
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
        return self._with_room(length, "\n\n".join(texts), asked)

    def summarized(self, length: int) -> Sample | None:
        """The beginning of a section or of a story, as much as there is room for, and its summary's."""
        if length < 512 or not self.summaries:
            return None
        text, summary = self.rng.choice(self.summaries)
        sample = self.assemble(corpora.beginning(text, int(length * 2.9)), [(SUMMARY, summary)])
        return sample if len(sample.ids) <= length else None

    def _with_room(self, length: int, text: str, asked: list[tuple[str, str]]) -> Sample | None:
        """As many of the questions as fit; what is still free goes to filler before or after the text."""
        for count in (16, 12, 8, 6, 4, 3, 2, 1):
            sample = self.assemble(text, asked[:count])
            free = length - len(sample.ids)
            if free >= 0:
                break
        else:
            return None
        for share in (0.9, 0.6):
            filler = " ".join(self.filler(int(free * share))).strip()
            if not filler:
                return sample
            longer = f"{filler}\n\n{text}" if self.rng.random() < 0.5 else f"{text}\n\n{filler}"
            wider = self.assemble(longer, asked[:count])
            if len(wider.ids) <= length:
                return wider
        return sample

    def sample(self, length: int, plan: Plan) -> Sample:
        """One sample of at most `length` tokens."""
        while True:
            if self.rng.random() < plan.keys:
                made = self.from_noise(length)
                if made is not None:
                    return made
            roll = self.rng.random()
            if roll < plan.generated:
                made = self.generated(length, plan)
            elif roll < plan.generated + plan.factbook:
                made = self.from_country(length)
            elif roll > 1 - plan.summary:
                made = self.summarized(length)
            else:
                made = self.from_paragraphs(length)
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

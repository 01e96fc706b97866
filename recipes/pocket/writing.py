"""Chats about documents as token sequences: the prompt format, and facts hidden in real text."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from recipes.pocket import corpora
from recipes.pocket.generate import Block

RULE = "\n\n---\n\n"
QUESTION = "Question: "
PASSAGES = "Passages read again:\n\n"
SUMMARY = "Summarize the text above in a few sentences."
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z\"“])")


@dataclass(frozen=True)
class Sample:
    """A chat as (what the user says, the answer) and as token ids.

    `answer` says of every token whether it is an answer's (its end token included).
    """

    turns: list[tuple[str, str]]
    ids: list[int]
    answer: list[bool]


class Writer:
    """Writes samples about documents made of the corpora's text."""

    def __init__(self, root: Path, tokenizer: Tokenizer, rng: random.Random, held_out: bool) -> None:
        self.rng = rng
        self.tokenizer = tokenizer
        self.books = corpora.books(root, haystacks=held_out)
        self.countries = corpora.countries(root, held_out)
        self.paragraphs = corpora.paragraphs(root, held_out)
        self.sections = [] if held_out else corpora.textbook(root)
        self.user, self.assistant = self._token("<|user|>"), self._token("<|assistant|>")
        self.end, self.pad = self._token("<|end|>"), self._token("<|pad|>")

    def _token(self, name: str) -> int:
        token = self.tokenizer.token_to_id(name)
        assert token is not None, f"the tokenizer has no {name}"
        return token

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

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

    def with_room(self, length: int, text: str, asked: list[tuple[str, str]]) -> Sample | None:
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

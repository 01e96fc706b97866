"""Conversations as rows of tokens: one pass over a document serves everything that is asked about it.

A row holds several conversations, one after the other, each seeing itself only. In a conversation whose questions do
not go on from one another, every question follows the document directly: its positions go on from the document's end,
and it sees the document and itself. So each is trained on as the first question, which is how most are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recipes.smollm2.conversations import Conversation

# So many conversations that do not fit are drawn before the rest of a row is left empty.
TRIES = 6


class Layout:
    """Token ids of the chat template's parts, and of texts (kept, for a passage comes again and again)."""

    def __init__(self, tokenizer: Any) -> None:
        marks = ("\N{SNOWMAN}1", "\N{SNOWMAN}2", "\N{SNOWMAN}3")
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        opening, rest = text.split(marks[0])
        closing, rest = rest.split(marks[1])
        between, last = rest.split(marks[2])
        if last != closing:
            raise ValueError("the chat template ends a message otherwise if it is the last")
        self._tokenizer, self._known = tokenizer, dict[str, list[int]]()
        self.opening, self.closing, self.between = self.ids(opening), self.ids(closing), self.ids(between)
        self.end: int = tokenizer.eos_token_id
        if self.between[0] != self.end:
            raise ValueError("the chat template does not end an answer with the tokenizer's end token")

    def ids(self, text: str) -> list[int]:
        """The ids of a text."""
        if text not in self._known:
            self._known[text] = self.encode(text)
        return self._known[text]

    def encode(self, text: str) -> list[int]:
        """The same, not kept."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()

    def prompt(self, document: str, request: str) -> list[int]:
        """What is read before the answer to a first question."""
        return [*self.opening, *self.ids(document), *self.ids(request), *self.closing]


@dataclass
class Piece:
    """Tokens of a conversation.

    Attributes:
        owners: for each token the number of its question if only that one may see it, else -1.
        learned: places of the tokens that are learned.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    learned: list[int] = field(default_factory=list)

    def add(self, ids: Sequence[int], position: int, owner: int = -1, learned: bool = False) -> int:
        """Put tokens after the others; the position after the last one."""
        self.learned += range(len(self.ids), len(self.ids) + len(ids)) if learned else ()
        self.ids += ids
        self.positions += range(position, position + len(ids))
        self.owners += [owner] * len(ids)
        return position + len(ids)


def piece(conversation: Conversation, layout: Layout, room: int) -> Piece | None:
    """As many of a conversation's questions as fit into `room` tokens, whole; None if not one does."""
    made = Piece()
    start = position = made.add([*layout.opening, *layout.ids(conversation.opening())], 0)
    for number, ask in enumerate(conversation.asks):
        target = [*layout.ids(ask.question.target), layout.end]
        follows = conversation.turns and number > 0
        # What ends the answer before is there already.
        before = [*(layout.between[1:] if follows else ()), *layout.ids(ask.text(first=not follows)), *layout.closing]
        if len(made.ids) + len(before) + len(target) > room:
            continue
        owner, position = (-1, position) if conversation.turns else (number, start)
        position = made.add(before, position, owner)
        position = made.add(target, position, owner, learned=True)
    return made if made.learned else None

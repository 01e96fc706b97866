"""Prompt lookup: what an answer takes from a text is guessed there, and read in the same pass as its last token.

A pass of few rows takes little longer than one of a single row: both wait for the weights to be read. So where the last
tokens of an answer stand in the text, what follows them there is read with them. Nothing but time depends on it, and
how products round: a guess counts only if it is what is said then.
"""

from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor

from activation_beacon import SequenceReader
from beacon_cli.checkpoints.engine import FEW_ROWS, Engine

# So many tokens that were said last are looked for, or fewer.
LAST = 3


class PromptLookup:
    """What a model says after a prompt and any tokens after it.

    Args:
        reader: has read the prompt. What it has read afterwards is not to be built on.
        logits: (vocabulary) of what follows the prompt.
        texts: what answers are likely to be taken from, the likeliest last.
        back: after so many tokens, at most, others than these are asked about.
    """

    def __init__(
        self, engine: Engine, reader: SequenceReader, logits: Tensor, texts: Sequence[str] = (), *, back: int = 0
    ) -> None:
        self._engine, self._reader = engine, reader
        # A CUDA device replays a graph, of a single row; and frequencies that grow would do so by what was guessed.
        guesses = 0 if engine.device.type != "cpu" or engine.attached.rotary.grows else FEW_ROWS - 1
        self._after = _followers([engine.source.tokenizer.encode(text) for text in texts] if guesses else [], guesses)
        # The last tokens can be forgotten, unless they end an interval.
        self._mark = reader.mark() if back > 0 and reader.room <= back + guesses else None
        self._first = logits
        self._read: tuple[int, ...] = ()
        self._rows: dict[tuple[int, ...], Tensor] = {}

    def following(self, ids: tuple[int, ...]) -> Tensor:
        """Logits (vocabulary) of what follows the prompt and these tokens."""
        if not ids:
            return self._first
        if ids not in self._rows:
            self._read_on(ids)
        return self._rows[ids]

    def has_room(self, ids: tuple[int, ...]) -> bool:
        """Whether the model's context has room for these tokens after the prompt."""
        if not ids or ids in self._rows:
            return True
        known = self._known(ids)
        # The last token may bring a beacon.
        more = len(ids) - known + 1 - (len(self._read) - known)
        return self._reader.memory.size + more <= self._engine.source.context

    @torch.inference_mode()
    def _read_on(self, ids: tuple[int, ...]) -> None:
        reader, known = self._reader, self._known(ids)
        self._go_back(known)
        new = ids[known:]
        # Each token may bring a beacon.
        left = (self._engine.source.context - reader.memory.size) // 2 - len(new)
        most = max(min(FEW_ROWS - len(new), reader.room - 1 - len(new), left), 0)
        guess = next((self._after[last] for last in _endings(ids) if last in self._after), ())[:most]
        hidden = torch.cat([step.hidden for step in reader.feed([*new, *guess])])
        logits = self._engine.attached.logits(hidden[len(new) - 1 :])
        self._read = (*ids, *guess)
        self._rows = {self._read[: len(ids) + more]: row for more, row in enumerate(logits)}

    def _known(self, ids: tuple[int, ...]) -> int:
        """How many of these tokens need not be read again. (The last is: what follows it was not kept.)"""
        same = takewhile(lambda pair: pair[0] == pair[1], zip(ids, self._read, strict=False))
        return min(sum(1 for _ in same), len(ids) - 1)

    def _go_back(self, known: int) -> None:
        """Have the reader where it was after so many of the tokens that it has read."""
        more = len(self._read) - known
        try:
            if more:
                self._reader.forget(more)
        except ValueError:  # an interval has ended since
            if self._mark is None:
                raise
            self._reader.rewind(self._mark)
            self._reader.remember(self._read[:known])


def _followers(texts: Sequence[Sequence[int]], count: int) -> dict[tuple[int, ...], tuple[int, ...]]:
    """What follows where one token to `LAST` tokens stand last: up to `count` tokens."""
    return {
        last: tuple(ids[end : end + count])
        for ids in texts
        for end in range(1, len(ids))
        for last in _endings(tuple(ids[max(end - LAST, 0) : end]))
    }


def _endings(ids: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The last `LAST` tokens, and fewer."""
    return [ids[-count:] for count in range(min(LAST, len(ids)), 0, -1)]

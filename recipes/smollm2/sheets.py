"""Rows of tokens as integers: what stands where, who sees whom, what is learned. Several rows make a batch.

A *sheet* is one row. Reading uncondensed, it holds conversations one after the other. Condensed, it holds one document
whose whole intervals have beacons among their tokens (interleaved, `docs/FORMAT.md` 4.4), then what is left of the
document, then the questions about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from recipes.smollm2.rows import Piece

# Nobody sees a row of memory of this group, and only padding is of the other.
NOBODY, PADDING = -2, -1


@dataclass
class Sheet:
    """One row.

    Attributes:
        ids, positions: of every token; a beacon's id does not matter.
        group: the conversation it belongs to.
        owner: the question it belongs to, or -1 if all of the conversation may see it.
        interval: which of the document's intervals it stands in.
        beacon: whether it is a beacon.
        memory: which tokens become memory; `memory_positions` where they stand there, `memory_interval` whose they are.
        places, targets: where a token is predicted from, and which.
        answer: for each of these, the number of the answer that it belongs to, -1 for text that is only read.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    interval: list[int] = field(default_factory=list)
    beacon: list[bool] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    memory_positions: list[int] = field(default_factory=list)
    memory_interval: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)

    def add(
        self, token: int, position: int, *, group: int = 0, owner: int = -1, interval: int = 0, beacon: bool = False
    ) -> int:
        """One more token; returns where it stands."""
        self.ids.append(token)
        self.positions.append(position)
        self.group.append(group)
        self.owner.append(owner)
        self.interval.append(interval)
        self.beacon.append(beacon)
        return len(self.ids) - 1

    def learn(self, place: int, target: int, answer: int) -> None:
        """The token at `place` predicts `target`."""
        self.places.append(place)
        self.targets.append(target)
        self.answer.append(answer)


@dataclass
class Sheets:
    """A batch: tensors (batch, tokens), those of the memory (batch, rows); the learned ones flat, (learned).

    `places` count through the batch: row · tokens + token.
    """

    ids: Tensor
    positions: Tensor
    group: Tensor
    owner: Tensor
    interval: Tensor
    beacon: Tensor
    memory: Tensor
    memory_positions: Tensor
    memory_group: Tensor
    memory_interval: Tensor
    places: Tensor
    targets: Tensor
    answer: Tensor
    used: int

    def to(self, device: str) -> Sheets:
        """The same on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Sheets(**{n: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for n, v in moved.items()})


def batch(sheets: Sequence[Sheet], tokens: int, rows: int, fill: int) -> Sheets:
    """Lay sheets under one another, each filled up to `tokens` tokens and `rows` rows of memory."""

    def grid(lists: Sequence[Sequence[int]], width: int, filling: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.tensor([[*each, *[filling] * (width - len(each))] for each in lists], dtype=dtype)

    starts = [tokens * number for number in range(len(sheets))]
    # Answers are numbered through the batch.
    answers, count = list[int](), 0
    for sheet in sheets:
        answers += [number + count if number >= 0 else -1 for number in sheet.answer]
        count += max(sheet.answer, default=-1) + 1
    return Sheets(
        ids=grid([s.ids for s in sheets], tokens, fill),
        positions=grid([s.positions for s in sheets], tokens, 0),
        group=grid([s.group for s in sheets], tokens, PADDING),
        owner=grid([s.owner for s in sheets], tokens, -1),
        interval=grid([s.interval for s in sheets], tokens, 0),
        beacon=grid([s.beacon for s in sheets], tokens, 0, torch.bool),
        memory=grid([s.memory for s in sheets], rows, 0),
        memory_positions=grid([s.memory_positions for s in sheets], rows, 0),
        memory_group=grid([[0] * len(s.memory) for s in sheets], rows, NOBODY),
        memory_interval=grid([s.memory_interval for s in sheets], rows, 0),
        places=torch.tensor([start + p for start, s in zip(starts, sheets, strict=True) for p in s.places]),
        targets=torch.tensor([target for s in sheets for target in s.targets]),
        answer=torch.tensor(answers),
        used=sum(len(s.ids) for s in sheets),
    )


def of_pieces(pieces: Sequence[Piece]) -> Sheet:
    """Conversations one after the other, uncondensed."""
    sheet, answers = Sheet(), 0
    for number, piece in enumerate(pieces):
        start = len(sheet.ids)
        for token, position, owner in zip(piece.ids, piece.positions, piece.owners, strict=True):
            sheet.add(token, position, group=number, owner=owner)
        before = None
        for place in piece.learned:
            answers += before is not None and place != before + 1
            sheet.learn(start + place - 1, piece.ids[place], answers)
            before = place
        answers += 1
    return sheet


@dataclass
class Lesson:
    """A document and what is asked of it.

    Attributes:
        ids: of the document, with what the chat template puts before it.
        asks: (what is read before the answer, the answer) of every question.
        read: tokens of the document that are predicted from the one before.
    """

    ids: list[int]
    asks: list[tuple[list[int], list[int]]]
    read: list[int]

    def sheet(self, window: int = 0, ratios: Sequence[int] = ()) -> Sheet:
        """As a row; with `ratios`, one for every whole interval of `window` tokens, condensed.

        Whatever the ratios, the same tokens are learned in the same order.
        """
        sheet, place, rows = Sheet(), dict[int, int](), 0
        for interval, ratio in enumerate(ratios):
            start, position = interval * window, rows
            for index in range(window):
                place[start + index] = sheet.add(self.ids[start + index], position, interval=interval)
                position += 1
                if (index + 1) % ratio == 0:
                    sheet.memory.append(sheet.add(0, position, interval=interval, beacon=True))
                    sheet.memory_positions.append(rows + (index + 1) // ratio - 1)
                    sheet.memory_interval.append(interval)
                    position += 1
            rows += window // ratio
        last, rest = len(ratios), len(ratios) * window
        for index in range(rest, len(self.ids)):
            place[index] = sheet.add(self.ids[index], rows + index - rest, interval=last)
        for token in self.read:
            sheet.learn(place[token - 1], self.ids[token], -1)
        for number, (before, target) in enumerate(self.asks):
            position = rows + len(self.ids) - rest
            for token in before:
                at = sheet.add(token, position, owner=number, interval=last)
                position += 1
            for token in target:
                sheet.learn(at, token, number)
                at = sheet.add(token, position, owner=number, interval=last)
                position += 1
        return sheet

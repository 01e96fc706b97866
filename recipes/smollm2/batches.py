"""What the two learn from, in batches, each the same whenever it is made."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from recipes.smollm2.conversations import Composer
from recipes.smollm2.lessons import Teacher, draw_ratios
from recipes.smollm2.rows import TRIES, Layout, Piece, piece
from recipes.smollm2.sheets import Sheet, Sheets, batch, of_pieces


@dataclass(frozen=True)
class Plan:
    """How one of the two is trained.

    Attributes:
        steps: in all.
        rows, tokens: a step's.
        rate: of learning, at its highest; `warmup` steps rise to it, the last `decay` share of the steps fall to zero.
    """

    steps: int
    rows: int
    tokens: int
    rate: float
    warmup: int = 20
    decay: float = 0.5


class ReaderBatches(Dataset[Sheets]):
    """Batch number n of the reader's rows: the same whenever it is made."""

    def __init__(self, composer: Composer, layout: Layout, plan: Plan, seed: int) -> None:
        self.composer, self.layout, self.plan, self.seed = composer, layout, plan, seed

    def __getitem__(self, index: int) -> Sheets:
        chance = random.Random(f"reader/{self.seed}/{index}")
        return batch([self._sheet(chance) for _ in range(self.plan.rows)], self.plan.tokens, 0, self.layout.end)

    def _sheet(self, chance: random.Random) -> Sheet:
        pieces, used, tries = list[Piece](), 0, 0
        while tries < TRIES or not pieces:
            made = piece(self.composer.conversation(chance), self.layout, self.plan.tokens - used)
            if made is None:
                tries += 1
            else:
                pieces.append(made)
                used += len(made.ids)
        return of_pieces(pieces)


class BeaconBatches(Dataset[tuple[Sheets, Sheets]]):
    """Batch number n of the beacon's rows, condensed and not.

    Args:
        ratio: of all intervals; None draws them.
    """

    def __init__(self, teacher: Teacher, plan: Plan, seed: int, ratio: int | None = None) -> None:
        self.teacher, self.plan, self.seed, self.ratio = teacher, plan, seed, ratio

    def __getitem__(self, index: int) -> tuple[Sheets, Sheets]:
        chance, room = random.Random(f"beacon/{self.seed}/{index}"), self.teacher.room
        condensed, plain = list[Sheet](), list[Sheet]()
        for _ in range(self.plan.rows):
            ratios = [self.ratio] * 3 if self.ratio else draw_ratios(chance, self.teacher.share, room)
            lesson = self.teacher.lesson(chance, len(ratios))
            condensed.append(lesson.sheet(room.window, ratios))
            plain.append(lesson.sheet())
        end = self.teacher.layout.end
        return batch(condensed, room.rows, room.memory, end), batch(plain, room.plain, 0, end)


def whole(items: list[Any]) -> Any:
    """A data loader's batch of one item, which is a batch already."""
    return items[0]


def batches(data: Any, workers: int, first: int, end: int) -> Iterator[Any]:
    """The batches from number `first` up to `end`, made by other processes if there are `workers`."""
    ahead = 4 if workers else None
    return iter(
        DataLoader(data, 1, sampler=range(first, end), num_workers=workers, collate_fn=whole, prefetch_factor=ahead)
    )

"""What the two learn from on a GPU: packed into one file, and in batches, each the same whenever it is made."""

from __future__ import annotations

import argparse
import json
import lzma
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from recipes.smollm2 import sources
from recipes.smollm2.conversations import Composer, Mix
from recipes.smollm2.lessons import Room, Teacher, draw_ratios
from recipes.smollm2.rows import TRIES, Layout, Piece, piece
from recipes.smollm2.sheets import Sheet, Sheets, batch, of_pieces
from recipes.smollm2.sources import Passage, Question

MIX = Mix(
    {"squad": 0.68, "factbook": 0.1, "fairytaleqa": 0.12, "quoref": 0.03, "adversarialqa": 0.05, "boolq": 0.02},
    distractors=(0.45, 0.12, 0.1, 0.1, 0.11, 0.12),
    unanswerable=1.0,
    foreign=0.1,
    cut=0.15,
    again=0.15,
)
LESSONS = {"squad": 0.55, "factbook": 0.18, "fairytaleqa": 0.2, "quoref": 0.03, "boolq": 0.04}
SMOKE = Mix({"squad": 1.0})


@dataclass(frozen=True)
class Plan:
    """How one of the two is trained.

    Attributes:
        seconds: of training, after the first steps, in which layers are compiled.
        rows, tokens: a step's.
        rate: of learning, at its highest; `warmup` steps rise to it, the last `decay` share of the steps fall to zero.
    """

    seconds: float
    rows: int
    tokens: int
    rate: float
    warmup: int = 20
    decay: float = 0.5


READER = Plan(90, 8, 2048, 1.5e-3)
BEACON = Plan(300, 16, Room().rows, 3e-4)


def pack(options: argparse.Namespace) -> None:
    """The command `pack`."""
    packed: dict[str, Any] = {
        split: {
            name: [[p.group, p.text, [[q.text, q.answers] for q in p.questions]] for p in found]
            for name, found in sources.load(options.data, split).items()
        }
        for split in ("train", "dev")
    }
    packed["books"] = sources.books(options.data, options.characters)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(options.out, "wt", encoding="utf-8") as file:
        json.dump(packed, file, ensure_ascii=False)


def unpack(path: Path) -> tuple[dict[str, dict[str, list[Passage]]], list[str]]:
    """Passages by split and data set, and books."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        packed = json.load(file)
    books = packed.pop("books")
    return {
        split: {
            name: [
                Passage(name, group, text, tuple(Question(q, tuple(a)) for q, a in questions))
                for group, text, questions in found
            ]
            for name, found in sets.items()
        }
        for split, sets in packed.items()
    }, books


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


def batches(data: Any, workers: int, first: int = 0) -> Iterator[Any]:
    """All batches from number `first` on, made by other processes."""
    order = range(first, first + 1_000_000)
    return iter(
        DataLoader(
            data, 1, sampler=order, num_workers=workers, collate_fn=whole, prefetch_factor=4 if workers else None
        )
    )

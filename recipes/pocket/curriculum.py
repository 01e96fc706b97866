"""What `bring_up` teaches, and when: condensed and raw texts, some of either behind other texts' memory."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from activation_beacon.config import BeaconConfig
from recipes.pocket.blocks import Shape
from recipes.pocket.compose import Plan

CONFIG = BeaconConfig(window=128, stride=128, ratios=(2, 4, 8, 16, 32))


@dataclass(frozen=True)
class Lesson:
    """One kind of batch: its shape, the ratios to draw with their weights (none: raw), and what its texts are."""

    shape: Shape
    ratios: dict[int, int]
    plan: Plan


def condensed(intervals: int, ratios: dict[int, int], prefix: int = 0, **plan: Any) -> Lesson:
    shape = Shape(intervals, CONFIG.window, CONFIG.window // min(ratios), prefix)
    return Lesson(shape, ratios, Plan(**{"facts": (1, 1)} | plan))


def raw(tokens: int, prefix: int = 0, **plan: Any) -> Lesson:
    return Lesson(Shape(1, tokens, 0, prefix), {}, Plan(**{"facts": (1, 1)} | plan))


_EASY: dict[str, Any] = {"factbook": 0.05, "passages": 0.0, "unanswerable": 0.0, "summary": 0.0}
_PLAIN: dict[str, Any] = {"passages": 0.0, "summary": 0.01, "keys": 0.06}
# High ratios cannot keep everything: few facts, in much else, teach what is worth keeping.
_SPARSE: dict[str, Any] = {"generated": 0.85, "factbook": 0.08, "passages": 0.0, "summary": 0.0, "keys": 0.25}
# Documents as people have them; their questions must fit behind the memory.
_REAL: dict[str, Any] = {"passages": 0.0, "summary": 0.01, "keys": 0.06, "questions": 5}
# Until this share of the time: lessons with their weights.
STAGES: tuple[tuple[float, tuple[tuple[float, Lesson], ...]], ...] = (
    (
        0.07,
        (
            (0.5, condensed(2, {2: 1}, facts=(1, 4), generated=0.95, bare=0.5, **_EASY)),
            (0.3, condensed(4, {2: 3, 4: 1}, facts=(2, 8), generated=0.9, bare=0.3, **_EASY)),
            (0.2, raw(512, facts=(3, 12))),
        ),
    ),
    (
        0.18,
        (
            (0.3, condensed(4, {2: 3, 4: 3, 8: 1}, facts=(2, 9), generated=0.75, bare=0.2, **_PLAIN)),
            (0.5, condensed(4, {4: 3, 8: 2}, facts=(1, 6), generated=0.75, **_PLAIN)),
            (0.2, raw(512, facts=(2, 12))),
        ),
    ),
    (
        0.45,
        (
            (0.2, condensed(4, {4: 2, 8: 3, 16: 2}, facts=(1, 6), generated=0.75, **_PLAIN)),
            (0.6, condensed(3, {4: 2, 8: 2, 16: 1, 32: 1}, facts=(1, 2), **_SPARSE)),
            (0.13, raw(512, facts=(2, 12))),
            (0.07, condensed(8, {8: 2, 16: 2, 32: 2}, 1024, facts=(1, 3), **_SPARSE)),
        ),
    ),
    (
        1.01,
        (
            (0.24, condensed(4, {2: 1, 4: 3, 8: 3, 16: 1}, facts=(1, 6), continued=0.5, **_REAL)),
            (0.08, condensed(8, {4: 2, 8: 3, 16: 2, 32: 1}, facts=(1, 6), continued=0.2, **_REAL)),
            (0.24, condensed(3, {4: 1, 8: 2, 16: 2, 32: 2}, facts=(1, 2), continued=0.2, **_SPARSE)),
            (0.12, condensed(8, {8: 2, 16: 2, 32: 2}, 1024, facts=(1, 4), **_SPARSE)),
            (0.04, condensed(8, {8: 2, 16: 2, 32: 2}, 4096, facts=(1, 3), **_SPARSE)),
            (0.08, raw(512, facts=(2, 12))),
            (0.06, raw(1024, facts=(4, 24))),
            (0.03, raw(2048, facts=(8, 40))),
            (0.09, raw(768, 256, facts=(2, 12), passages=0.6, reread=0.6)),
            (0.05, raw(768, 2048, facts=(2, 12), passages=0.6, reread=0.6)),
        ),
    ),
)


def name_of(lesson: Lesson) -> str:
    """For the metrics: intervals x window, the lowest ratio, the rows in front."""
    shape = lesson.shape
    return f"{shape.intervals}x{shape.window}/{min(lesson.ratios, default=0)}+{shape.prefix}"


def lesson_at(fraction: float, rng: random.Random) -> tuple[int, int]:
    """Indices of the stage and of a lesson drawn from it."""
    stage = next(index for index, (until, _) in enumerate(STAGES) if min(fraction, 1.0) < until)
    weights = [weight for weight, _ in STAGES[stage][1]]
    return stage, rng.choices(range(len(weights)), weights)[0]

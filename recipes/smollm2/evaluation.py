"""Questions on what was held out, and what a model answers to them, decoded greedily."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recipes.smollm2.conversations import Ask, shuffled
from recipes.smollm2.rows import Layout
from recipes.smollm2.sources import Passage, Question

BATCH = 48


@dataclass(frozen=True)
class Case:
    """A document and a question about it."""

    document: str
    question: Question


def sets(passages: Mapping[str, Sequence[Passage]], count: int) -> dict[str, list[Case]]:
    """Up to `count` questions of each kind, always the same ones.

    `single`, `among_2`, `among_5`: SQuAD's questions on their paragraph alone or among others of the held-out articles,
    half of them of the same article; `unanswerable`: its questions without an answer, on their paragraph; `factbook`
    and `fairytaleqa`: on the section alone.
    """
    squad, found = passages["squad"], dict[str, list[Case]]()
    answered = _drawn(squad, True, count)
    for name, others in (("single", 0), ("among_2", 2), ("among_5", 5)):
        found[name] = [
            Case(_document(passage, squad, others, number), q) for number, (passage, q) in enumerate(answered)
        ]
    found["unanswerable"] = [Case(passage.text, q) for passage, q in _drawn(squad, False, count)]
    for name in ("factbook", "fairytaleqa"):
        if name in passages:
            found[name] = [Case(passage.text, q) for passage, q in _drawn(passages[name], True, count)]
    return found


def _drawn(passages: Sequence[Passage], answered: bool, count: int) -> list[tuple[Passage, Question]]:
    every = [(passage, q) for passage in passages for q in passage.questions if bool(q.answers) == answered]
    return random.Random(7).sample(every, min(count, len(every)))


def _document(passage: Passage, passages: Sequence[Passage], others: int, seed: int) -> str:
    chance = random.Random(f"{others}/{seed}")
    near = [p for p in passages if p.group == passage.group and p is not passage]
    far = [p for p in passages if p.group != passage.group] or near
    picked = list[Passage]()
    while len(picked) < others:
        other = chance.choice(near if near and chance.random() < 0.5 else far)
        if other not in picked:
            picked.append(other)
    return "\n\n".join(p.text for p in shuffled(passage, picked, 10**6, chance))


@torch.inference_mode()
def answers(model: Any, layout: Layout, cases: Sequence[Case], most: int = 32) -> list[str]:
    """What a model answers to each, in at most `most` tokens."""
    prompts = [layout.prompt(case.document, Ask(case.question).text()) for case in cases]
    order = sorted(range(len(cases)), key=lambda index: len(prompts[index]))
    given = [""] * len(cases)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        length = max(len(prompts[index]) for index in batch)
        padded = [[layout.end] * (length - len(prompts[index])) + prompts[index] for index in batch]
        seen = [[0] * (length - len(prompts[index])) + [1] * len(prompts[index]) for index in batch]
        made = model.generate(
            torch.tensor(padded),
            attention_mask=torch.tensor(seen),
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=layout.end,
            pad_token_id=layout.end,
        )
        for index, ids in zip(batch, made[:, length:].tolist(), strict=True):
            given[index] = layout.decode(ids)
    return given

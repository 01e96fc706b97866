"""Questions on what was held out, and what a model answers to them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from beacon_cli.answering.likeliest import TOKENS, likeliest, worth
from beacon_cli.answering.prompts import REFUSAL
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
def answers(
    model: Any, layout: Layout, cases: Sequence[Case], most: int = 32, refuses_from: float | None = None
) -> list[str]:
    """What a model answers to each, in at most `most` tokens, of which each is the likeliest.

    Args:
        refuses_from: the probability of the refusal from which on it is given, as the tool does; the other answers are
            then the likeliest, as the tool's are. None: the refusal, too, only where its tokens are the likeliest.
    """
    prompts = [layout.prompt(case.document, Ask(case.question).text()) for case in cases]
    order = sorted(range(len(cases)), key=lambda index: len(prompts[index]))
    given = [""] * len(cases)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        asked = [prompts[index] for index in batch]
        if refuses_from is None:
            told = _greedy(model, layout, asked, most)
        else:
            likely = (doubts(model, layout, asked).exp() >= refuses_from).tolist()
            told = [
                REFUSAL if refused else _likeliest(model, layout, prompts[index], cases[index].document, most)
                for index, refused in zip(batch, likely, strict=True)
            ]
        for index, answer in zip(batch, told, strict=True):
            given[index] = answer
    return given


def _greedy(model: Any, layout: Layout, prompts: Sequence[Sequence[int]], most: int) -> list[str]:
    """What follows each prompt, the likeliest token every time."""
    ids, seen = _padded(prompts, layout.end)
    made = model.generate(
        ids,
        attention_mask=seen,
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=layout.end,
        pad_token_id=layout.end,
    )
    return [layout.decode(answer) for answer in made[:, ids.shape[1] :].tolist()]


def _likeliest(model: Any, layout: Layout, prompt: list[int], document: str, most: int) -> str:
    """The likeliest answer; one that is not found is decoded greedily."""
    cache = DynamicCache()
    first: Tensor = model(torch.tensor([prompt]), past_key_values=cache, logits_to_keep=1).logits[0, -1].float()

    def following(ids: tuple[int, ...]) -> Tensor:
        if not ids:
            return first
        if more := cache.get_seq_length() - len(prompt):
            cache.crop(-more)
        logits: Tensor = model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1).logits[0, -1]
        return logits.float()

    said = [*likeliest(following, {layout.end}, min(TOKENS, most), lambda ids: worth(layout.decode(ids), [document]))]
    return layout.decode(said[:-1]) if layout.end in said else _greedy(model, layout, [prompt], most)[0]


@torch.inference_mode()
def doubts(model: Any, layout: Layout, prompts: Sequence[Sequence[int]]) -> Tensor:
    """(prompts), in float64, the logarithm of the refusal's probability after each, its end not counted."""
    refusal = layout.ids(REFUSAL)
    ids, seen = _padded([[*prompt, *refusal] for prompt in prompts], layout.end)
    positions = (seen.cumsum(-1) - 1).clamp(min=0)  # as `generate` has them, so that padding does not round otherwise
    logits = model(ids, attention_mask=seen, position_ids=positions, logits_to_keep=len(refusal) + 1).logits[:, :-1]
    likely = logits.float().log_softmax(-1).gather(-1, ids[:, -len(refusal) :, None])
    found: Tensor = likely.double().sum((1, 2))
    return found


def _padded(rows: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """(rows, longest) ids, padded on the left, and 1 where there is one."""
    length = max(map(len, rows))
    ids = torch.tensor([[padding] * (length - len(row)) + list(row) for row in rows])
    return ids, torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])

"""The limit of refusing: how it is chosen, and that it means the same wherever it is held to."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from beacon_cli.answering.likeliest import worth
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.default_model import refuses_from
from recipes.smollm2 import base, limit, sources
from recipes.smollm2.conversations import Ask
from recipes.smollm2.evaluation import Case, answers, doubts, sets
from recipes.smollm2.held_out import Told
from recipes.smollm2.rows import Layout

# Of two questions with an answer that would be given and one with another, and of four without.
DOUBTS, RIGHT, ANSWERABLE = (0.1, 0.35, 0.05, 0.7, 0.6, 0.3, 0.02), (1, 1, 0, 0, 0, 0, 0), (1, 1, 1, 0, 0, 0, 0)


def hand_made(doubts: tuple[float, ...] = DOUBTS, refused: tuple[int, ...] = (0, 0, 0, 1, 0, 0, 0)) -> Told:
    right, answerable = (torch.tensor(each).bool() for each in (RIGHT, ANSWERABLE))
    return Told(torch.tensor(doubts).log(), torch.tensor(refused).bool(), right, answerable)


@pytest.mark.parametrize(("share", "limit"), [(0.25, 0.7), (0.3, 0.6), (0.5, 0.6), (0.75, 0.3), (1.0, 0.02)])
def test_the_limit_is_the_highest_that_refuses_the_share(share: float, limit: float) -> None:
    # What the likeliest token every time refuses is not: with a limit another answer is said.
    made = hand_made(refused=(0, 0, 0, 0, 0, 0, 1))
    assert made.limit_for(share) == pytest.approx(limit)
    assert made.figures(made.limit_for(share))["refused"] >= 100 * share


def test_a_limit_is_rounded_down_so_that_it_refuses_as_much() -> None:
    assert [limit.rounded(each) for each in (1.0, 0.2399, 0.005)] == [1.0, 0.23, 0.0]


def test_figures_at_a_limit() -> None:
    before, after = hand_made().figures(), hand_made().figures(0.32)
    assert (before["exact"], before["refused_wrongly"], before["refused"]) == pytest.approx((200 / 3, 0, 25))
    assert (after["exact"], after["refused_wrongly"], after["refused"]) == pytest.approx((100 / 3, 100 / 3, 50))
    assert after["told_apart"] == before["told_apart"]


def test_the_command_says_and_writes_the_limit_of_a_reader(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = shutil.copytree(made, tmp_path / "reader")
    limit.main(["--size", "smoke", "--reader", str(reader)])
    without, at_it = map(json.loads, capsys.readouterr().out.splitlines())
    assert refuses_from(reader) is None
    assert without["limit"] is None
    assert 0 <= at_it["limit"] <= 1
    assert at_it["refused"] >= max(without["refused"], 100 * limit.REFUSED)
    limit.main(["--size", "smoke", "--reader", str(reader), "--write"])
    assert refuses_from(reader) == at_it["limit"]


def test_questions_whose_refusal_is_likely_enough_are_refused(made: Path, layout: Layout) -> None:
    model: Any = base.tiny_base()[0].float()
    base.merge_reader(model, made)
    cases = sets(sources.made_up(2), 3)["single"]
    prompts = [layout.prompt(case.document, Ask(case.question).text()) for case in cases]
    found, ids = doubts(model, layout, prompts), layout.ids(REFUSAL)
    assert len({*map(len, prompts)}) > 1
    for prompt, doubt in zip(prompts, found.tolist(), strict=True):
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        assert doubt == pytest.approx(logits.gather(1, torch.tensor(ids)[:, None]).sum().item(), rel=1e-4)
    before, likely = answers(model, layout, cases, 5), found.exp().tolist()
    middle = sorted(likely)[1]
    assert REFUSAL not in before
    searched = answers(model, layout, cases, 5, 1.0)
    assert REFUSAL not in searched
    assert answers(model, layout, cases, 5, middle) == [
        REFUSAL if each >= middle else answer for each, answer in zip(likely, searched, strict=True)
    ]


def test_with_a_limit_the_likeliest_answer_is_given(made: Path, layout: Layout) -> None:
    model: Any = base.tiny_base()[0].float()
    base.merge_reader(model, made)
    cases = sets(sources.made_up(2), 8)["single"]

    def counts(case: Case, answer: str) -> float:
        prompt, ids = layout.prompt(case.document, Ask(case.question).text()), [*layout.encode(answer), layout.end]
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return logits.gather(1, torch.tensor(ids)[:, None]).sum().exp().item() * worth(answer, [case.document])

    likeliest, greedy = answers(model, layout, cases, 5, 1.0), answers(model, layout, cases, 5)
    assert likeliest != greedy
    for case, found, likely_tokens in zip(cases, likeliest, greedy, strict=True):
        assert counts(case, found) >= counts(case, likely_tokens) * (1 - 1e-4)

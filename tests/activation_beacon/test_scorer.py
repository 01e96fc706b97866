"""Selection by a scorer: what it is fitted to, what it keeps, and its file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from activation_beacon import Activations, SelectingReader, Selection, attach
from activation_beacon.errors import CheckpointError
from activation_beacon.files import SCORER_FILE
from activation_beacon.scorer import Scorer, ScorerFit, load_scorer, save_scorer
from tests.activation_beacon.test_selection import assert_same, parts_of
from tests.activation_beacon.tiny import random_ids, tiny_model

SELECTION = Selection(window=16, sink=3, instruction=(5, 6, 7))


def rows_of(count: int, seed: int = 0) -> Activations:
    """2 layers, 2 heads, 8 wide."""
    generator = torch.Generator().manual_seed(seed)
    return Activations(*torch.randn(2, 2, 2, count, 8, generator=generator))


def fitted(model: Any, tokens: int = 400) -> Scorer:
    fit = ScorerFit()
    with attach(model, None) as attached:
        reader = attached.selecting_reader(4, SELECTION)
        reader.observe = fit.add
        reader.read(random_ids(tokens, 3))
    assert fit.tokens == tokens // 16 * 16 - 3
    return fit.scorer("a model", "f00d")


def reading(attached: Any, scorer: Scorer, ratio: int = 4) -> SelectingReader:
    reader: SelectingReader = attached.selecting_reader(ratio, replace(SELECTION, scorer=scorer))
    return reader


def test_what_is_linear_in_keys_values_and_lengths_is_found() -> None:
    chance = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 2 * 2 * 8 + 4 + 1, 2, generator=chance) / 8
    known, fit = Scorer(weight, "a model", "f00d"), ScorerFit()
    for seed in range(4):
        rows = rows_of(500, seed)
        fit.add(rows, known.scores(rows).exp())
    rows = rows_of(100, 9)
    torch.testing.assert_close(fit.scorer("", "").scores(rows), known.scores(rows), atol=0.02, rtol=0.02)


def test_it_keeps_more_of_what_saying_it_again_keeps_than_chance_does() -> None:
    model, shared = tiny_model(), []
    scorer = fitted(model, 1600)

    def compare(rows: Activations, scores: torch.Tensor) -> None:
        guessed = scorer.scores(rows)
        shared.append(float(torch.corrcoef(torch.stack((guessed.flatten(), scores.log().flatten())))[0, 1]))

    with attach(model, None) as attached:
        reader = attached.selecting_reader(4, SELECTION)
        reader.observe = compare
        reader.read(random_ids(160, 4))
    assert sum(shared) / len(shared) > 0.3


def test_an_interval_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ran = tiny_model(), []
    scorer = fitted(model)
    with attach(model, None) as attached:
        run = attached.run
        monkeypatch.setattr(
            attached, "run", lambda ids, *rest, **how: ran.append(ids.shape[1]) or run(ids, *rest, **how)
        )
        reader = reading(attached, scorer)
        sink, *intervals = parts_of(reader, random_ids(40))
    assert ran == [16, 16, 8]
    assert [sink.size, *(each.size for each in intervals)] == [3, 3, 4]


@pytest.mark.parametrize("positions", [512, 20])
def test_pieces_and_resuming_give_the_same_memory(positions: int) -> None:
    """Also where the model has fewer positions than saying an interval again would take."""
    model, ids = tiny_model("qwen3", max_position_embeddings=positions), random_ids(70)
    scorer = fitted(tiny_model("qwen3"))
    with attach(model, None) as attached:
        whole, pieced, resumed = (reading(attached, scorer) for _ in range(3))
        parts = parts_of(whole, ids)
        for start in range(0, 70, 7):
            pieced.read(ids[start : start + 7])
        assert_same(whole, pieced)
        for part in parts[:3]:
            resumed.load(part)
        resumed.restore(tokens=32, sink=3, beacons=resumed.memory.size - 3, intervals=2, ratio=4)
        for part, other in zip(parts[3:], parts_of(resumed, ids[32:]), strict=True):
            assert torch.equal(part.keys, other.keys)
            assert torch.equal(part.counts, other.counts)
        assert_same(whole, resumed)


def test_on_disk_and_back_it_is_the_same(tmp_path: Path) -> None:
    scorer = fitted(tiny_model())
    save_scorer(tmp_path / "new", scorer)
    found = load_scorer(tmp_path / "new")
    assert torch.equal(found.weight, scorer.weight)
    assert (found.base_name, found.base_fingerprint) == ("a model", "f00d")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [SCORER_FILE]


@pytest.mark.parametrize("damage", ["gone", "cut", "no settings", "no numbers"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path, scorer = tmp_path / SCORER_FILE, fitted(tiny_model())
    save_scorer(tmp_path, scorer)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "no settings":
        save_file({"weight": scorer.weight.contiguous()}, path)
    else:
        save_scorer(tmp_path, replace(scorer, weight=scorer.weight * torch.nan))
    with pytest.raises(CheckpointError, match="scorer"):
        load_scorer(tmp_path)

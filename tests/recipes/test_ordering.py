"""The comparison of schemes: which tokens are measured, that reading right scores best, and what the table says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import beacon_pocket
from activation_beacon.config import BeaconConfig
from beacon_cli.training.layouts import Sample
from beacon_cli.training.settings import COPY, TrainSettings
from recipes.pocket import ordering
from recipes.pocket.compose import Composer
from recipes.pocket.ordering import MEASURED, RATIOS, VARIANTS, measure, question, table
from recipes.pocket.short_texts import WINDOW, write_texts
from tests.recipes.corpora import write_corpora


def sample(learned: list[bool]) -> Sample:
    return Sample(np.arange(len(learned), dtype=np.int32), np.asarray(learned), "somewhere")


def test_of_books_everything_behind_the_first_interval_is_measured() -> None:
    asked = question(sample([True] * 100))
    assert (asked.kind, asked.runs) == ("books", [range(WINDOW, 99)])


def test_answers_count_from_the_interval_behind_the_first_one_on() -> None:
    said = [50, 51, 60, 61, 70, 71, 72]  # the first two answers are read in the second interval
    asked = question(sample([index in said for index in range(80)]))
    assert (asked.kind, asked.runs) == ("answers", [range(69, 72)])


def test_of_a_repetition_everything_is_measured() -> None:
    asked = question(sample([index >= 60 for index in range(90)]))
    assert (asked.kind, asked.runs) == ("repeated", [range(59, 89)])


def test_every_variant_is_a_scheme_or_an_objective_that_can_be_trained() -> None:
    common = TrainSettings(data=("texts",), window=WINDOW, ratios=RATIOS, objective="ar+3*hidden")
    schemes = [replace(common, **settings) for settings in VARIANTS.values()]
    kinds = {(scheme.beacon_config(None), scheme.objective) for scheme in schemes}
    assert len(kinds) == len(VARIANTS)
    shipped = schemes[0].beacon_config(BeaconConfig(128, 128, (2, 4)))
    assert (shipped.pos, shipped.attn, shipped.ratio_mix) == ("interleave", "full-coverage", "step-random")


def test_facts_are_told_best_from_the_whole_text_and_worst_from_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpora(tmp_path / "data")
    reader = Tokenizer.from_file(str(beacon_pocket.FOLDER / "tokenizer.json"))
    texts = tmp_path / "texts.jsonl"
    write_texts(texts, Composer(tmp_path / "data", reader, 1), [*MEASURED] * 4)
    monkeypatch.setattr(ordering, "RATIOS", (2,))
    settings = TrainSettings(data=(str(texts),), device="cpu", window=WINDOW, ratios=RATIOS, max_tokens=256)
    found = measure(settings, texts, COPY)
    assert [len(json.loads(line)) for line in texts.read_text().splitlines()] == [1] * 12
    for kind in ("repeated", "answers"):
        assert found["full"][kind]["loss"] < 1 < found["interval"][kind]["loss"]
        assert found["full"][kind]["tokens"] == found["2"][kind]["tokens"] > 0


def test_the_table_gives_means_and_how_far_seeds_are_apart() -> None:
    def scores(loss: float) -> dict[str, dict[str, dict[str, float]]]:
        return {
            reading: {kind: {"loss": loss, "exact": loss / 10} for kind in MEASURED}
            for reading in (*map(str, RATIOS), "full", "interval")
        }

    name = list(VARIANTS)[1]
    rows = [{"variant": name, "seed": seed, "scores": scores(1 + seed)} for seed in range(3)]
    lines = table({"reference": scores(1.5), "rows": rows}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| uncondensed", "| the running interval alone", "| copied beacon, untrained", f"| {name}",
    ]  # fmt: skip
    assert "| 1.50 |" in lines[2]
    assert "| 2.00 (1.00–3.00) |" in lines[-1]
    assert "| 20 (10–30) |" in lines[-1]

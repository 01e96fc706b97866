"""Settings of training: flags over a file, written back as they were, refused by name."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from activation_beacon.config import BeaconConfig
from beacon_cli.errors import SettingsError
from beacon_cli.training.schedule import learning_rate, texts_of_step
from beacon_cli.training.settings import TrainSettings, differences, load_train_settings


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    settings = TrainSettings(
        data=('a "quoted"\\ name\x7f\n', "ü"), ratios=(2, 4), lr=1e-3, pack=True, param=("q", "k"), steps=7
    )
    path = tmp_path / "train.toml"
    path.write_text(settings.to_toml(), encoding="utf-8")
    assert load_train_settings(path, {}) == settings


def test_flags_count_more_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text('data = ["a"]\nlr = 1\nbatch = 2\n')
    settings = load_train_settings(path, {"batch": "3", "seed": None})
    assert (settings.data, settings.lr, settings.batch, settings.seed) == (("a",), 1.0, 3, 0)
    assert load_train_settings(path, {}, data=("b",)).data == ("b",)


def test_epochs_count_more_than_the_steps_that_a_finished_run_has_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(TrainSettings(("a",), steps=7).to_toml())
    settings = load_train_settings(path, {"epochs": 3.0})
    assert (settings.epochs, settings.steps) == (3.0, None)
    assert load_train_settings(path, {"epochs": 3.0, "steps": 2}).steps == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = ["a"]\ncolour = 1', "unknown setting 'colour'"),
        ("data = ", "cannot be read"),
        ('data = "a"', "data is 'a'"),
        ('data = ["a"]\nbatch = "2"', "batch is '2'"),
        ('data = ["a"]\nbatch = true', "batch is True"),
        ('data = ["a"]\nbatch = 0', "batch is 0"),
        ('data = ["a"]\nlr = inf', "lr is inf"),
        ('data = ["a"]\nlr = 1e39', "lr is 1e.39; give a number from 1e-30 to 1e.30"),
        ('data = ["a"]\nepochs = nan', "epochs is nan"),
        ('data = ["a"]\nbits = 8', "bits is 8"),
        ('data = ["a"]\nobjective = "fun"', "objective 'fun'"),
        ('data = ["a"]\nobjective = "ar+ar"', "objective 'ar"),
        ('data = ["a"]\nobjective = "-1*ar"', "objective '-1"),
        ("lr = 1e-4", "nothing to train on"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_train_settings(path, {})


def test_objectives() -> None:
    assert TrainSettings(("a",), objective="ar + 0.5*distill+3*hidden").objectives() == {
        "ar": 1.0, "distill": 0.5, "hidden": 3.0
    }  # fmt: skip


START = BeaconConfig(window=128, stride=128, ratios=(2, 4), sink_size=1)


@pytest.mark.parametrize(
    ("start", "given", "expected"),
    [
        (None, {}, {"window": 2048, "stride": 2048, "ratios": (2, 4, 8, 16, 32), "param": ("q", "k", "v")}),
        (None, {"window": 64}, {"window": 64, "stride": 64}),
        (START, {}, asdict(START)),
        (START, {"window": 64, "ratios": (8,)}, {"window": 64, "stride": 64, "ratios": (8,), "sink_size": 1}),
        (START, {"attn": "step-expansion"}, {"attend_prev": False, "pos": "interleave"}),
        (START, {"pos": "append", "stride": 64}, {"window": 128, "stride": 64, "attend_prev": True}),
    ],
)
def test_what_is_left_open_comes_from_the_start(
    start: BeaconConfig | None, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    config = asdict(TrainSettings(("a",), **given).beacon_config(start))
    assert {name: config[name] for name in expected} == expected


def test_a_scheme_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="segmentation"):
        TrainSettings(("a",), attn="segmentation").beacon_config(None)


def test_a_run_goes_on_with_other_habits_but_not_with_other_lessons() -> None:
    before = asdict(TrainSettings(("a",), ratios=(2, 4))) | {"ratios": [2, 4], "param": None}
    assert differences(before, TrainSettings(("b",), ratios=(2, 4), save_every=3, pass_tokens=7, device="cpu")) == []
    assert differences(before, TrainSettings(("a",), ratios=(2, 8), lr=1.0)) == [
        "ratios [2, 4] instead of [2, 8]", "lr 5e-05 instead of 1.0"
    ]  # fmt: skip


def test_every_epoch_has_all_texts_in_an_order_of_its_own() -> None:
    drawn = [pair for step in range(7) for pair in texts_of_step(step, 3, 10, seed=1)]
    assert [number for number, _ in drawn] == list(range(21))
    first, second = ([index for _, index in drawn[start : start + 10]] for start in (0, 10))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [index for _, index in texts_of_step(0, 10, 10, seed=2)] != first


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 100, 10, 1.0) for step in range(100)]
    assert rates[:2] == [0.1, 0.2]
    assert max(rates) == rates[9] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=1e-3)

"""Flag > environment > configuration file > default."""

import os
from pathlib import Path

import pytest

from beacon_cli.errors import SettingsError
from beacon_cli.settings import Settings, load_settings


def test_defaults() -> None:
    assert load_settings({"model": None}) == Settings()
    assert Settings().condensing_ratio is None


def test_order(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(os.environ["BEACON_CONFIG"]).write_text('model = "file"\ndevice = "cpu"\npassages = 4\n')
    monkeypatch.setenv("BEACON_MODEL", "environment")
    monkeypatch.setenv("BEACON_PASSAGES", "5")
    settings = load_settings({"model": "flag", "ratio": "8"})
    assert (settings.model, settings.device, settings.passages, settings.condensing_ratio) == ("flag", "cpu", 5, 8)


@pytest.mark.parametrize(
    "flags",
    [
        {"device": "tpu"},
        {"ratio": "eight"},
        {"ratio": "-2"},
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"passages": -1},
    ],
)
def test_unusable_values(flags: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        load_settings(flags)

"""Flag > environment > configuration file > default; each value of the right type, or refused by name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.errors import SettingsError
from beacon_cli.settings import DEFAULTS, Settings, declared, load_settings, trace_settings, unknown_variables


def configure(text: str) -> None:
    Path(os.environ["BEACON_CONFIG"]).write_text(text)


def test_defaults() -> None:
    assert load_settings({"model": None}) == Settings() == DEFAULTS
    assert DEFAULTS.ratio is None


def test_order(monkeypatch: pytest.MonkeyPatch) -> None:
    configure('model = "file"\ndevice = "cpu"\npassages = 4\n')
    monkeypatch.setenv("BEACON_MODEL", "environment")
    monkeypatch.setenv("BEACON_PASSAGES", "5")
    flags = {"model": "flag", "ratio": "8"}
    settings = load_settings(flags)
    assert (settings.model, settings.device, settings.passages, settings.ratio) == ("flag", "cpu", 5, 8)
    where = {name: origin.where for name, origin in trace_settings(flags).items()}
    file = os.environ["BEACON_CONFIG"]
    assert [where[name] for name in ("model", "passages", "device", "temperature")] == [
        "flag", "BEACON_PASSAGES", file, "default"
    ]  # fmt: skip


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_MODEL", "")
    assert load_settings({}).model == DEFAULTS.model


@pytest.mark.parametrize("name", list(declared(Settings)))
def test_each_setting_says_what_it_is(name: str) -> None:
    each = declared(Settings)[name]
    assert each.help.endswith(".")
    assert each.metavar or each.kind is bool
    assert each.variable == f"BEACON_{name.upper()}"
    each.check(each.default, name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ratio = 8", {"ratio": 8}),
        ('ratio = "8"', {"ratio": 8}),
        ('ratio = "auto"', {"ratio": None}),
        ("beacon_bits = 4", {"beacon_bits": 4}),
        ("temperature = 1", {"temperature": 1.0}),
        ('cache_limit = "2GB"', {"cache_limit": 2_000_000_000}),
        ("cache_limit = 4096", {"cache_limit": 4096}),
    ],
)
def test_what_a_file_may_say(text: str, expected: dict[str, Any]) -> None:
    configure(text)
    settings = load_settings({})
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        "passages = 2.9",
        "passages = 2.0",
        "passages = true",
        'passages = "two"',
        'max_new_tokens = "2"',
        "max_new_tokens = true",
        "model = 1",
        "temperature = true",
        "temperature = nan",
        "ratio = 2.5",
        "ratio = 0",
        "beacon_bits = 8",
        "cache_bits = 12",
        'cache_limit = "much"',
        "cache_limit = -1",
        'device = "tpu"',
        "colour = 1",
        "model = ",
    ],
)
def test_what_a_file_may_not_say(text: str) -> None:
    configure(text)
    with pytest.raises(SettingsError, match=r"config\.toml"):
        load_settings({})


@pytest.mark.parametrize(
    "flags",
    [
        {"device": "tpu"},
        {"ratio": "eight"},
        {"ratio": "-2"},
        {"max_new_tokens": 0},
        {"max_new_tokens": "2.5"},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": "nan"},
        {"passages": -1},
        {"cache_limit": "lots"},
    ],
)
def test_unusable_flags_are_refused_by_their_names(flags: dict[str, object]) -> None:
    (name,) = flags
    with pytest.raises(SettingsError, match=f"^--{name.replace('_', '-')}"):
        load_settings(flags)


def test_a_program_cannot_make_unusable_settings() -> None:
    with pytest.raises(SettingsError, match="passages is -1; give a whole number from 0 on"):
        Settings(passages=-1)


def test_a_similar_name_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    configure("pasages = 1")
    with pytest.raises(SettingsError, match=r"unknown setting 'pasages'; did you mean passages\?"):
        load_settings({})
    monkeypatch.setenv("BEACON_CACHEDIR", "/tmp")
    (line,) = unknown_variables()
    assert line.endswith("BEACON_CACHEDIR means nothing to beacon; did you mean BEACON_CACHE_DIR?")


def test_a_named_file_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_CONFIG", "nowhere.toml")
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read: no such file"):
        load_settings({})


def test_the_users_own_file_need_not_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BEACON_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_settings({}) == DEFAULTS


def test_settings_import_nothing_heavy() -> None:
    code = "import sys, beacon_cli.settings; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Defaults that a person can set: flag > environment (`BEACON_…`) > configuration file > built in."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from beacon_cli.cache.identity import BITS
from beacon_cli.checkpoints.catalogue import POCKET
from beacon_cli.errors import SettingsError
from beacon_cli.quantities import parse_size

DEVICES = ("auto", "cpu", "cuda")
AUTO = "auto"


@dataclass(frozen=True)
class Settings:
    """What has a default (see the flags of the same names).

    Raises:
        SettingsError: for a value that cannot be used.
    """

    model: str = POCKET
    beacon: str | None = None
    beacon_bits: str = AUTO
    device: str = AUTO
    ratio: str = AUTO
    max_new_tokens: int = 256
    temperature: float = 0.0
    passages: int = 2
    cache_bits: int = 16
    cache_limit: str | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise SettingsError(f"device {self.device!r} is unknown; choose one of {', '.join(DEVICES)}")
        if self.beacon_bits not in (AUTO, "16", "4"):
            raise SettingsError(f"beacon_bits is {self.beacon_bits!r}; choose 16 or 4, or auto for what is stored")
        if self.ratio != AUTO and not self.ratio.isdecimal():
            raise SettingsError(f"ratio {self.ratio!r} is no condensing ratio; give a whole number such as 8, or auto")
        if self.max_new_tokens < 1:
            raise SettingsError(f"max_new_tokens is {self.max_new_tokens}; an answer needs at least 1")
        if not 0 <= self.temperature <= 100:
            raise SettingsError(
                f"temperature is {self.temperature}; give 0 (always the likeliest token) or a little more"
            )
        if self.passages < 0:
            raise SettingsError(f"passages is {self.passages}; give 0 to answer from the condensed memory alone")

        if self.cache_bits not in BITS:
            raise SettingsError(f"cache_bits is {self.cache_bits}; choose one of {', '.join(map(str, BITS))}")
        if self.cache_limit is not None:
            parse_size(self.cache_limit)

    @property
    def cache_bytes(self) -> int | None:
        """The bytes that `cache_limit` says; None for no limit."""
        return None if self.cache_limit is None else parse_size(self.cache_limit)

    @property
    def beacon_bit_count(self) -> int | None:
        """Bits of the beacon's weights; None for auto."""
        return None if self.beacon_bits == AUTO else int(self.beacon_bits)

    @property
    def condensing_ratio(self) -> int | None:
        """The ratio; None for auto."""
        return None if self.ratio == AUTO else int(self.ratio)


def config_path() -> Path:
    """The configuration file: `BEACON_CONFIG`, else `config.toml` in the user's configuration folder."""
    named = os.environ.get("BEACON_CONFIG")
    return (
        Path(named).expanduser() if named else platformdirs.user_config_path("beacon", appauthor=False) / "config.toml"
    )


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Settings from all three places; flags that are None were not given.

    Raises:
        SettingsError: for unknown keys and unusable values, naming where they stand.
    """
    path = config_path()
    settings = _apply(Settings(), _read_file(path), str(path))
    names = {field.name for field in fields(Settings)}
    environment = {name: os.environ[key] for name in names if (key := f"BEACON_{name.upper()}") in os.environ}
    settings = _apply(settings, environment, "the environment (BEACON_…)")
    return _apply(settings, {name: value for name, value in flags.items() if value is not None}, "the command line")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); correct or remove it") from None


def _apply(settings: Settings, values: Mapping[str, Any], where: str) -> Settings:
    converted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in {field.name for field in fields(Settings)}:
            known = ", ".join(field.name for field in fields(Settings))
            raise SettingsError(f"{where}: unknown setting {name!r}; known: {known}")
        default = getattr(Settings(), name)
        kind = str if default is None else type(default)
        try:
            converted[name] = kind(value)
        except (TypeError, ValueError):
            raise SettingsError(f"{where}: {name} is {value!r}, not a {kind.__name__}") from None
    return replace(settings, **converted)

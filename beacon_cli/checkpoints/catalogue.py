"""The pairs of base model and beacon that this tool knows by name: the embedded one, and those of `catalogue.toml`."""

import tomllib
from dataclasses import dataclass
from importlib import resources

from beacon_cli.settings import DEFAULTS

POCKET = DEFAULTS.model


@dataclass(frozen=True)
class Released:
    """A released pair.

    Attributes:
        id: on the hub.
        base: the base model's name.
        window: tokens in an interval; None if not known before it is here.
        ratios: condensing ratios that it was trained for; empty if not known.
        licence: of the beacon; empty if not known.
        download: bytes of its weights.
    """

    id: str
    base: str
    download: int
    window: int | None = None
    ratios: tuple[int, ...] = ()
    licence: str = ""


def released() -> tuple[Released, ...]:
    """All of them."""
    text = resources.files("beacon_cli.checkpoints").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(
        Released(**{**entry, "ratios": tuple(entry.get("ratios", ()))}) for entry in tomllib.loads(text)["model"]
    )

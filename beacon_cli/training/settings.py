"""How a beacon is trained: one frozen record, from flags or a TOML file, kept beside the checkpoint."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from activation_beacon.config import BeaconConfig
from beacon_cli.checkpoints.catalogue import POCKET
from beacon_cli.errors import TrainingError

COPY = "copy"
OBJECTIVES = ("ar", "distill", "hidden")
# Weights in float32 can be multiplied by it.
LARGEST = 1e30
PRECISIONS = ("auto", "bfloat16", "float32")
# What the paper trains with, where neither the user nor another beacon says otherwise.
PAPER = {"window": 2048, "ratios": (2, 4, 8, 16, 32)}
SCHEME = (
    "window",
    "stride",
    "ratios",
    "ratio_mix",
    "pos",
    "attn",
    "attend_prev",
    "attend_memory",
    "sink_size",
    "param",
)
# What may differ when training goes on: the loss curve does not depend on it (of the data, a checksum is compared).
FREE = (
    "data", "model", "device", "skip_bad", "eval_data", "eval_every", "save_every", "keep", "pass_tokens",
    "checkpoint_layers",
)  # fmt: skip


@dataclass(frozen=True)
class TrainSettings:
    """See the flags of the same names; None leaves the choice to what stands behind the bar.

    Attributes:
        window … param: see `BeaconConfig` | as the beacon to start from, or the model's own, has them; else `PAPER`.
        objective: objectives with their weights: "ar", "ar+distill", "ar+3*hidden".
        max_tokens: longest text | eight windows, if the model's context holds them.
        pass_tokens: texts up to here are read in one pass, longer ones a few intervals at a time.
        steps: in all | what `epochs` come to.
        warmup: steps | a twentieth of all.

    Raises:
        TrainingError: for unusable values.
    """

    data: tuple[str, ...]
    eval_data: tuple[str, ...] = ()
    model: str = POCKET
    init: str = COPY
    device: str = "auto"
    bits: int = 4
    precision: str = "auto"
    window: int | None = None
    stride: int | None = None
    ratios: tuple[int, ...] | None = None
    ratio_mix: str | None = None
    pos: str | None = None
    attn: str | None = None
    attend_prev: bool | None = None
    attend_memory: bool | None = None
    sink_size: int | None = None
    param: tuple[str, ...] | None = None
    objective: str = "ar"
    max_tokens: int | None = None
    pass_tokens: int = 8192
    checkpoint_layers: bool = True
    pack: bool = False
    skip_bad: bool = False
    lr: float = 5e-5
    warmup: int | None = None
    weight_decay: float = 0.0
    clip: float = 1.0
    batch: int = 8
    epochs: float = 1.0
    steps: int | None = None
    seed: int = 0
    eval_every: int = 100
    save_every: int = 100
    keep: int = 2

    def __post_init__(self) -> None:
        if not self.data:
            raise TrainingError("there is nothing to train on: name text or JSONL files, or folders of them")
        for name, known in (("device", ("auto", "cpu", "cuda")), ("bits", (4, 16)), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise TrainingError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(map(str, known))}")
        least = {"pass_tokens": 1, "batch": 1, "steps": 1, "warmup": 0, "seed": 0, "eval_every": 1, "save_every": 1}
        for name, smallest in (least | {"keep": 1, "max_tokens": 2}).items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise TrainingError(f"{name} is {value}; it must be at least {smallest}")
        for name in ("lr", "clip", "epochs"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be a positive number up to {LARGEST:g}")
        if not 0 <= self.weight_decay < 1:
            raise TrainingError(f"weight_decay is {self.weight_decay}; it must be at least 0 and less than 1")
        self.objectives()

    def objectives(self) -> dict[str, float]:
        """The weights in `objective`.

        Raises:
            TrainingError: if it cannot be read.
        """
        weights: dict[str, float] = {}
        for term in self.objective.split("+"):
            weight, _, name = term.strip().rpartition("*")
            try:
                value = float(weight) if weight else 1.0
            except ValueError:
                value = math.nan
            if name not in OBJECTIVES or name in weights or not 0 < value < math.inf:
                raise TrainingError(
                    f"the objective {self.objective!r} cannot be read: join {', '.join(OBJECTIVES)} with +, each with "
                    'a weight if you like, such as "ar+3*hidden"'
                )
            weights[name] = value
        return weights

    def beacon_config(self, start: BeaconConfig | None) -> BeaconConfig:
        """The scheme to train, `start` giving what is not set.

        Raises:
            ConfigError: if it is none.
        """
        given = {name: value for name in SCHEME if (value := getattr(self, name)) is not None}
        known = PAPER if start is None else {name: getattr(start, name) for name in SCHEME}
        if start is None or start.stride == start.window:
            known = {**known, "stride": given.get("window", known["window"])}
        if {"pos", "attn"} & given.keys():
            hidden = (given.get("pos", known.get("pos", "interleave")), given.get("attn", known.get("attn")))
            known = {**known, "attend_prev": hidden != ("interleave", "step-expansion")}
        return BeaconConfig(**(known | given))

    def to_toml(self) -> str:
        """What `load_train_settings` reads back."""
        set_ = {name: value for name, value in asdict(self).items() if value is not None}
        # JSON's strings, numbers, lists and truth values are TOML's, but for the one character that JSON leaves bare.
        return "".join(f"{name} = {json.dumps(value)}\n".replace("\x7f", "\\u007f") for name, value in set_.items())


def load_train_settings(path: Path | None, flags: Mapping[str, Any]) -> TrainSettings:
    """Settings from a TOML file and flags, which count more; flags that are None or empty were not given.

    Raises:
        TrainingError: for unknown keys and unusable values.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path} cannot be read ({error}); correct it, or leave --config out") from None
    kinds = get_type_hints(TrainSettings)
    for name, value in values.items():
        if name not in kinds:
            raise TrainingError(f"{path}: unknown setting {name!r}; known: {', '.join(kinds)}")
        values[name] = _converted(name, value, kinds[name], path)
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    if "epochs" in given:
        values.pop("steps", None)  # which a finished run has in its file, instead of epochs
    return TrainSettings(**({"data": ()} | values | given))


def _converted(name: str, value: Any, kind: Any, path: Path | None) -> Any:
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    item = get_args(kind)[0] if get_args(kind) else None
    if kind is float and type(value) is int:
        return float(value)
    if item is not None and isinstance(value, list) and all(type(each) is item for each in value):
        return tuple(value)
    if item is None and type(value) is kind:
        return value
    raise TrainingError(f"{path}: {name} is {value!r}; beacon train --help says what it takes")


def differences(before: Mapping[str, Any], now: TrainSettings) -> list[str]:
    """The names of settings that keep a run from going on, with both values."""
    known = json.loads(json.dumps(asdict(now)))
    names = [field.name for field in fields(TrainSettings) if field.name not in FREE]
    return [f"{n} {before.get(n)!r} instead of {known[n]!r}" for n in names if before.get(n) != known[n]]


def resolved(settings: TrainSettings, **values: Any) -> TrainSettings:
    """The same settings with open choices made."""
    return replace(settings, **values)

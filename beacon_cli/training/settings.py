"""How a beacon is trained: one frozen record, from flags or a TOML file, kept beside the checkpoint."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from activation_beacon.config import BeaconConfig
from activation_beacon.errors import ConfigError
from beacon_cli.errors import SettingsError
from beacon_cli.settings import (
    DEFAULTS,
    Checked,
    Device,
    Settings,
    declared,
    read_flags,
    read_settings,
    setting,
)

COPY = "copy"
OBJECTIVES = ("ar", "distill", "hidden")
# Weights in float32 can be multiplied by both.
TINY, LARGEST = 1e-30, 1e30
# What the paper trains with, where neither the user nor another beacon says otherwise.
PAPER = {"window": 2048, "ratios": (2, 4, 8, 16, 32)}
SCHEME = tuple(field.name for field in fields(BeaconConfig))
# What may differ when training goes on: the loss curve does not depend on it (of the data, a checksum is compared).
FREE = (
    "data", "model", "device", "skip_bad", "eval_data", "eval_every", "save_every", "keep", "pass_tokens",
    "checkpoint_layers",
)  # fmt: skip


# Headings of `beacon train --help`.
_SCHEME, _LESSON, _PACE = "What beacons are", "What is learned", "How"
_SHARED = declared(Settings)


@dataclass(frozen=True)
class TrainSettings(Checked):
    """What a beacon is trained with. Of the scheme (window to param), None takes what the beacon to start from, or the
    model's own, has; else what `PAPER` says.

    Raises:
        SettingsError: for unusable values.
    """

    data: tuple[str, ...] = setting((), "DATA", "Texts or .jsonl files to train on, or folders of them.", flag="")
    model: str = setting(DEFAULTS.model, _SHARED["model"].metavar, _SHARED["model"].help, shown=_SHARED["model"].shown)
    init: str = setting(COPY, "copy|DIR", "Start from the base's projections or from a beacon.")
    device: Device = setting("auto", _SHARED["device"].metavar, _SHARED["device"].help)
    bits: int = setting(4, "4|16", "Of the frozen base model's weights.", choices=(4, 16))
    precision: Literal["auto", "bfloat16", "float32"] = setting(
        "auto", "auto|bfloat16|float32", "Of matrix products; auto: what is fast here."
    )
    window: int | None = setting(None, "N", "Tokens in an interval.", panel=_SCHEME)
    stride: int | None = setting(None, "N", "How many of them are condensed.", panel=_SCHEME)
    ratios: tuple[int, ...] | None = setting(None, "2,4,8", "Condensing ratios.", panel=_SCHEME)
    ratio_mix: str | None = setting(
        None, "MIX", "How ratios are drawn: step-random, instance-random, sequence, adapt-N.", panel=_SCHEME
    )
    pos: str | None = setting(None, "interleave|append", "Where beacons stand.", panel=_SCHEME)
    attn: str | None = setting(
        None,
        "NAME",
        "What a beacon sees of its interval: full-coverage, step-expansion or segmentation.",
        panel=_SCHEME,
    )
    attend_prev: bool | None = setting(None, "", "Beacons see those before them.", panel=_SCHEME)
    attend_memory: bool | None = setting(None, "", "Beacons see the memory.", panel=_SCHEME, flag="")
    sink_size: int | None = setting(None, "N", "First entries that stay uncondensed.", panel=_SCHEME)
    param: tuple[str, ...] | None = setting(
        None, "q,k,v[,o]", "Projections that beacons have of their own.", panel=_SCHEME, flag="--train"
    )
    objective: str = setting(
        "ar",
        "ar+distill",
        "ar (the text), distill (the uncondensed model's predictions), hidden (its hidden states), or a sum "
        'such as "ar+3*hidden".',
        panel=_LESSON,
    )
    max_tokens: int | None = setting(
        None, "N", "Longest text; longer ones are cut.", panel=_LESSON, shown="8 windows", least=2
    )
    pack: bool = setting(
        False,
        "",
        "Join texts up to --max-tokens, an end token between them; each has those before it in memory.",
        panel=_LESSON,
    )
    skip_bad: bool = setting(
        False,
        "",
        "Pass over what cannot be learned from, and name it.",
        panel=_LESSON,
        shown="",
        flag="--skip-bad",
    )
    eval_data: tuple[str, ...] = setting((), "DATA", "To validate on.", panel=_LESSON, shown="")
    eval_every: int = setting(100, "STEPS", "Between validations.", panel=_LESSON, least=1)
    lr: float = setting(5e-5, "RATE", "Highest learning rate.", panel=_PACE, least=TINY, most=LARGEST)
    warmup: int | None = setting(
        None,
        "STEPS",
        "In which the rate rises; then it falls as a cosine does, to a twentieth.",
        panel=_PACE,
        shown="a twentieth of all",
        least=0,
    )
    weight_decay: float = setting(0.0, "X", "AdamW's.", panel=_PACE, least=0, most=1)
    clip: float = setting(1.0, "NORM", "Longest gradient.", panel=_PACE, least=TINY, most=LARGEST)
    batch: int = setting(8, "N", "Texts of a step, read one by one and shared among processes.", panel=_PACE, least=1)
    epochs: float = setting(1.0, "X", "Rounds through the data.", panel=_PACE, least=TINY, most=LARGEST)
    steps: int | None = setting(None, "N", "Instead of --epochs.", panel=_PACE, least=1)
    seed: int = setting(0, "N", "Of the order and the ratios.", panel=_PACE, least=0)
    pass_tokens: int = setting(
        8192,
        "N",
        "Longer texts are read this many tokens at a time, and again in the backward pass.",
        panel=_PACE,
        least=1,
    )
    checkpoint_layers: bool = setting(
        True, "", "Compute layers again in the backward pass: a third slower, in much less memory.", panel=_PACE
    )
    save_every: int = setting(100, "STEPS", "Between checkpoints.", panel=_PACE, least=1)
    keep: int = setting(2, "N", "Checkpoints that are kept.", panel=_PACE, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise SettingsError("there is nothing to train on: name text or JSONL files, or folders of them")
        self.objectives()

    def objectives(self) -> dict[str, float]:
        """The weights in `objective`.

        Raises:
            SettingsError: if it cannot be read.
        """
        weights: dict[str, float] = {}
        for term in self.objective.split("+"):
            weight, _, name = term.strip().rpartition("*")
            try:
                value = float(weight) if weight else 1.0
            except ValueError:
                value = math.nan
            if name not in OBJECTIVES or name in weights or not 0 < value < math.inf:
                raise SettingsError(
                    f"the objective {self.objective!r} cannot be read: join {', '.join(OBJECTIVES)} with +, each with "
                    'a weight if you like, such as "ar+3*hidden"'
                )
            weights[name] = value
        return weights

    def beacon_config(self, start: BeaconConfig | None) -> BeaconConfig:
        """The scheme to train, `start` giving what is not set.

        Raises:
            SettingsError: if it is none.
        """
        given = {name: value for name in SCHEME if (value := getattr(self, name)) is not None}
        known = PAPER if start is None else {name: getattr(start, name) for name in SCHEME}
        if start is None or start.stride == start.window:
            known = {**known, "stride": given.get("window", known["window"])}
        if {"pos", "attn"} & given.keys():
            hidden = (given.get("pos", known.get("pos", "interleave")), given.get("attn", known.get("attn")))
            known = {**known, "attend_prev": hidden != ("interleave", "step-expansion")}
        try:
            return BeaconConfig(**(known | given))
        except ConfigError as error:
            raise SettingsError(str(error)) from None

    def to_toml(self) -> str:
        """What `load_train_settings` reads back."""
        set_ = {name: value for name, value in asdict(self).items() if value is not None}
        # JSON's strings, numbers, lists and truth values are TOML's, but for the one character that JSON leaves bare.
        return "".join(f"{name} = {json.dumps(value)}\n".replace("\x7f", "\\u007f") for name, value in set_.items())


def load_train_settings(path: Path | None, flags: Mapping[str, Any], data: tuple[str, ...] = ()) -> TrainSettings:
    """Settings from a TOML file and flags, which count more.

    Args:
        data: counts more than the file's, unless it is empty.

    Raises:
        SettingsError: for unknown keys and unusable values.
    """
    values = {} if path is None else read_settings(path, TrainSettings)
    given = read_flags(flags, TrainSettings) | ({"data": data} if data else {})
    if "epochs" in given:
        values.pop("steps", None)  # which a finished run has in its file, instead of epochs
    return TrainSettings(**({"data": ()} | values | given))


def differences(before: Mapping[str, Any], now: TrainSettings) -> list[str]:
    """The names of settings that keep a run from going on, with both values."""
    known = json.loads(json.dumps(asdict(now)))
    names = [field.name for field in fields(TrainSettings) if field.name not in FREE]
    return [f"{n} {before.get(n)!r} instead of {known[n]!r}" for n in names if before.get(n) != known[n]]

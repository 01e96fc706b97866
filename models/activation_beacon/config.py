"""How a beacon condenses: one frozen record, validated once, that travels with every beacon checkpoint."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from activation_beacon.errors import ConfigError

BeaconPos = Literal["interleave", "append"]
BeaconAttn = Literal["full-coverage", "step-expansion", "segmentation"]
PROJECTIONS = ("q", "k", "v", "o")
RATIO_MIXES = ("step-random", "instance-random", "sequence", "sequence-last")
ADAPT = re.compile(r"adapt-(\d+)")


@dataclass(frozen=True)
class BeaconConfig:
    """The settings that a beacon was trained with (`docs/FORMAT.md` 1 and 4; paper, section 3).

    Attributes:
        window: ordinary tokens in an interval.
        stride: how many of them are condensed at its end; the others open the next interval.
        ratios: condensing ratios that may be used; 0 keeps an interval's raw activations.
        ratio_mix: how one of several ratios is drawn (`docs/FORMAT.md` 5).
        pos: beacons stand after every `ratio`-th token, or all after the interval.
        attn: what a beacon sees of its interval (`docs/FORMAT.md` 4.6).
        attend_prev: whether a beacon sees the earlier beacons of its interval. Appended beacons with full coverage that
            do not, all stand at one position after the interval (so in the first release, `docs/FORMAT.md` 8).
        attend_memory: whether a beacon sees the memory of earlier intervals; ordinary tokens always do.
        sink_size: entries of the first interval that stay in memory uncondensed.
        param: projections of which beacons have their own: letters of "q", "k", "v", "o".

    Raises:
        ConfigError: for values that are malformed or cannot work together.
    """

    window: int
    stride: int
    ratios: tuple[int, ...]
    ratio_mix: str = "step-random"
    pos: BeaconPos = "interleave"
    attn: BeaconAttn = "full-coverage"
    attend_prev: bool = True
    attend_memory: bool = True
    sink_size: int = 0
    param: tuple[str, ...] = ("q", "k", "v")

    def __post_init__(self) -> None:
        for name in ("window", "stride", "sink_size"):
            value = getattr(self, name)
            if type(value) is not int or value < (0 if name == "sink_size" else 1):
                raise ConfigError(f"beacon setting {name} is {value!r}; it must be a positive whole number")
        for name, known in (("pos", get_args(BeaconPos)), ("attn", get_args(BeaconAttn))):
            if getattr(self, name) not in known:
                raise ConfigError(f"beacon setting {name} is {getattr(self, name)!r}; known: {', '.join(known)}")
        for name in ("attend_prev", "attend_memory"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"beacon setting {name} is {getattr(self, name)!r}; it must be true or false")
        if self.ratio_mix not in RATIO_MIXES and not ADAPT.fullmatch(str(self.ratio_mix)):
            raise ConfigError(
                f"beacon setting ratio_mix is {self.ratio_mix!r}; known: {', '.join(RATIO_MIXES)}, adapt-N"
            )
        if any(part not in PROJECTIONS for part in self.param) or len(set(self.param)) != len(self.param):
            raise ConfigError(f"beacon setting param is {self.param!r}; it takes letters of {PROJECTIONS}")
        if self.stride > self.window:
            raise ConfigError(f"stride {self.stride} is longer than the window {self.window}")
        self._check_ratios()
        if self.pos == "interleave":
            if self.window != self.stride:
                raise ConfigError(
                    f"interleaved beacons need stride == window, not stride {self.stride} of {self.window}"
                )
            if self.attn == "segmentation":
                raise ConfigError("interleaved beacons cannot be combined with attn 'segmentation'")
            if self.attn == "step-expansion" and self.attend_prev:
                raise ConfigError("interleaved beacons with attn 'step-expansion' need attend_prev false")
            if self.attn == "full-coverage" and not self.attend_prev:
                raise ConfigError("interleaved beacons with attn 'full-coverage' need attend_prev true")
            if not self.attend_memory:
                raise ConfigError("attend_memory false needs pos 'append'")

    def _check_ratios(self) -> None:
        if not self.ratios or any(type(ratio) is not int or ratio < 0 for ratio in self.ratios):
            raise ConfigError(f"beacon setting ratios is {self.ratios!r}; it must list whole numbers from 0 up")
        if len(self.ratios) == 1:
            self.check_ratio(self.ratios[0])
        elif not self.usable_ratios:
            raise ConfigError(f"none of the ratios {self.ratios} divides the stride {self.stride}")

    @property
    def usable_ratios(self) -> tuple[int, ...]:
        """The ratios that `check_ratio` lets pass (`docs/FORMAT.md` 5: of a list, the others are dropped)."""
        return tuple(r for r in self.ratios if not self._why_not(r))

    def check_ratio(self, ratio: int) -> None:
        """Refuse a ratio that would leave tokens of an interval uncovered (a defect of the reference).

        Raises:
            ConfigError: if `ratio` does not divide the stride. The first release's full coverage need not: there
                every beacon sees all of its interval.
        """
        if why_not := self._why_not(ratio):
            raise ConfigError(why_not)

    def _why_not(self, ratio: int) -> str:
        if ratio > self.stride:
            return f"ratio {ratio} does not divide the stride {self.stride}: it is longer"
        everyone_sees_all = (self.pos, self.attn, self.attend_prev) == ("append", "full-coverage", False)
        if ratio and self.stride % ratio and not everyone_sees_all:
            return f"ratio {ratio} does not divide the stride {self.stride}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping that `from_dict` reads back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "BeaconConfig":
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: for unknown or missing keys, and for values that `BeaconConfig` refuses.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(f"unknown beacon settings: {', '.join(unknown)}")
        missing = sorted({"window", "stride", "ratios"} - set(data))
        if missing:
            raise ConfigError(f"missing beacon settings: {', '.join(missing)}")
        for name in ("ratios", "param"):
            if name in data and not isinstance(data[name], list | tuple):
                raise ConfigError(f"beacon setting {name} is {data[name]!r}; it must be a list")
        lists = {name: tuple(data[name]) for name in ("ratios", "param") if name in data}
        return cls(**{**data, **lists})

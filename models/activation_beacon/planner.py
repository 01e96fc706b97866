"""What goes into each forward pass, at which position and seeing what: integers only, no tensors.

The one place that knows the schemes (`docs/FORMAT.md` 4.2-4.8); everything that runs a pass follows its plan.
"""

import copy
from dataclasses import dataclass, field

from activation_beacon.config import BeaconConfig
from activation_beacon.errors import ConfigError
from activation_beacon.ratios import RatioChooser

BEACON = -1


@dataclass(frozen=True)
class Slot:
    """One key of the interval in progress.

    Attributes:
        raw: its index among the interval's ordinary tokens, or `BEACON`.
        beacon: its index among the interval's beacons, or `BEACON` for an ordinary token.
        position: its rotary position.
        sees_raw: the half-open range of the interval's ordinary tokens that it attends to.
        sees_beacons: the same for the interval's beacons.
        sees_memory: whether it attends to sink and beacons of earlier intervals.
    """

    raw: int
    beacon: int
    position: int
    sees_raw: tuple[int, int]
    sees_beacons: tuple[int, int]
    sees_memory: bool = True

    @property
    def is_beacon(self) -> bool:
        return self.beacon != BEACON


@dataclass(frozen=True)
class Pass:
    """One forward pass.

    Attributes:
        tokens: how many ordinary tokens it takes.
        cached: the interval's entries that earlier passes left in memory.
        entries: the new entries, in order.
        memory: rows of sink and beacons before the interval, at positions 0..memory-1.
        causal: whether each entry sees exactly the memory, the entries before it and itself.
        full: whether it completes an interval.
        ratio: the interval's ratio; None while no beacon can depend on it.
        sink: at the end of the first interval, the interval's rows that are copied to the sink, else empty.
        condensed: rows of the interval (cached ones first) that move to the memory when it is full.
        kept: rows that stay as the beginning of the next interval.
    """

    tokens: int
    cached: tuple[Slot, ...]
    entries: tuple[Slot, ...]
    memory: int
    causal: bool
    full: bool
    ratio: int | None
    sink: tuple[int, ...] = ()
    condensed: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    @property
    def raw_rows(self) -> list[int]:
        """The new entries that are ordinary tokens."""
        return [row for row, entry in enumerate(self.entries) if not entry.is_beacon]

    @property
    def staying(self) -> list[int]:
        """The new entries that are still there after the pass."""
        if not self.full:
            return list(range(len(self.entries)))
        cached = len(self.cached)
        return sorted({row - cached for row in (*self.sink, *self.condensed, *self.kept) if row >= cached})

    @property
    def length(self) -> int:
        """Positions that the sequence takes, or keys if these are more (`docs/FORMAT.md` 7)."""
        keys = self.memory + len(self.cached) + len(self.entries)
        return max(keys, 1 + max(entry.position for entry in self.entries))


@dataclass
class Planner:
    """Plans the passes of one sequence; `take` advances it.

    Args:
        config: the beacon's settings.
        chooser: decides each interval's ratio; may be exchanged between intervals.
        skip_first: tokens at the very beginning that become the sink uncondensed.
        skip_last: index of the token from which on nothing is condensed.
        until: tokens in all, in training: the pass that reaches the end brings no beacons and completes no interval.

    Raises:
        ConfigError: if the skips do not fit the configuration.
    """

    config: BeaconConfig
    chooser: RatioChooser
    skip_first: int = 0
    skip_last: int | None = None
    until: int | None = None
    sink: int = field(default=0, init=False)
    beacons: int = field(default=0, init=False)
    consumed: int = field(default=0, init=False)
    window: list[Slot] = field(default_factory=list, init=False)
    _raw: int = field(default=0, init=False)
    _kept: int = field(default=0, init=False)
    _start: int = field(default=0, init=False)
    _ratio: int | None = field(default=None, init=False)
    _intervals: int = field(default=0, init=False)
    _passes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.skip_first and self.config.sink_size:
            raise ConfigError("skip_first makes a sink of its own: it needs sink_size 0")
        if (self.skip_first or self.skip_last is not None) and self.config.window != self.config.stride:
            raise ConfigError("skip_first and skip_last need stride == window")
        if self.skip_last is not None and (self.skip_last - self.skip_first) % self.config.window:
            raise ConfigError(
                f"skip_last {self.skip_last} - skip_first {self.skip_first} is not a multiple of the window"
            )

    @property
    def memory(self) -> int:
        """Rows of sink and beacons."""
        return self.sink + self.beacons

    @property
    def at_boundary(self) -> bool:
        """Whether no token of a next interval has come yet."""
        return not self.window and not self._raw

    @property
    def room(self) -> int:
        """Tokens that the interval in progress has room for."""
        return self.config.window - self._raw

    def copy(self) -> "Planner":
        """One that plans on from here by itself, its chooser too."""
        twin = copy.copy(self)
        twin.window, twin.chooser = [*self.window], copy.deepcopy(self.chooser)
        return twin

    def restore(self, *, tokens: int, sink: int, beacons: int, intervals: int) -> None:
        """Go on after `intervals` further finished intervals whose memory has been loaded."""
        self.consumed += tokens
        self.sink += sink
        self.beacons += beacons
        self._intervals += intervals
        self._passes += intervals
        self._start = self.consumed

    def forget(self, tokens: int) -> int:
        """Forget the last tokens of the interval in progress, and the beacons after the first of them.

        Returns:
            How many rows these have.

        Raises:
            ValueError: if the interval in progress has fewer tokens that are not of the one before, too.
        """
        left, own = self._raw - tokens, self._raw - self._kept
        if tokens > own:
            raise ValueError(f"{tokens} tokens cannot be forgotten: the interval in progress has {own}")
        rows = [row for row, entry in enumerate(self.window) if not entry.is_beacon and entry.raw >= left]
        forgotten = len(self.window) - rows[0] if rows else 0
        self.window = self.window[: len(self.window) - forgotten]
        self._raw, self.consumed = left, self.consumed - tokens
        return forgotten

    def end_interval(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """End the interval in progress where it is: its beacons become memory, and the tokens after the last of them.

        Returns:
            The rows of the interval that become the sink, and those that become memory.
        """
        beacons = [row for row, entry in enumerate(self.window) if entry.is_beacon]
        rest = range(beacons[-1] + 1 if beacons else 0, len(self.window))
        sink = range(min(self.config.sink_size, len(self.window)) if beacons and not self._intervals else 0)
        self.sink += len(sink)
        self.beacons += len(beacons) + len(rest)
        self._intervals += 1
        self._start, self._ratio = self.consumed, None
        self.window, self._raw, self._kept = [], 0, 0
        return tuple(sink), (*beacons, *rest)

    def take(self, available: int) -> Pass:
        """Plan the next pass over at most `available` > 0 further tokens of the current call (`docs/FORMAT.md` 4.3)."""
        self._passes += 1
        if self.consumed < self.skip_first:
            return self._take_prefix(available)
        if self.skip_last is not None and self._start >= self.skip_last:
            return self._take_raw(min(available, self.config.window))
        return self._take_window(available)

    def _take_prefix(self, available: int) -> Pass:
        if available <= self.skip_first:
            raise ConfigError(f"skip_first {self.skip_first} needs a first call of more than {available} tokens")
        entries = self._raw_entries(self.skip_first, ratio=0)
        self.consumed = self._start = self.sink = self.skip_first
        return Pass(len(entries), (), entries, 0, True, True, None, sink=tuple(range(len(entries))))

    def _take_raw(self, tokens: int) -> Pass:
        entries, cached = self._raw_entries(tokens, ratio=0), tuple(self.window)
        self.window += entries
        self._raw += tokens
        self.consumed += tokens
        return Pass(tokens, cached, entries, self.memory, True, False, None)

    def _take_window(self, available: int) -> Pass:
        config, cached, memory = self.config, tuple(self.window), self.memory
        tokens = min(config.window - self._raw, available)
        if self.consumed + tokens == self.until:
            return self._take_raw(tokens)
        full = self._raw + tokens == config.window
        if self._ratio is None and (full or config.pos == "interleave"):
            self._ratio = self.chooser.choose(self.consumed + available, self._passes - 1)
            config.check_ratio(self._ratio)
        ratio = self._ratio
        if config.pos == "interleave":
            entries = self._raw_entries(tokens, ratio or 0)
        else:
            entries = self._raw_entries(tokens, 0)
            if full and ratio:
                entries += self._appended_beacons(ratio, len(cached) + tokens)
        self.consumed += tokens
        window = (*cached, *entries)
        causal = (config.attn == "full-coverage" and config.attend_prev and config.attend_memory) or not any(
            entry.is_beacon for entry in window
        )
        if not full:
            self.window, self._raw = list(window), self._raw + tokens
            return Pass(tokens, cached, entries, memory, causal, False, ratio)
        return self._finish(Pass(tokens, cached, entries, memory, causal, True, ratio), window)

    def _finish(self, done: Pass, window: tuple[Slot, ...]) -> Pass:
        """Move a completed interval into the memory (`docs/FORMAT.md` 4.7)."""
        stride = self.config.stride
        raw_rows = [row for row, entry in enumerate(window) if not entry.is_beacon]
        if done.ratio:
            condensed = tuple(row for row, entry in enumerate(window) if entry.is_beacon)
        else:
            condensed = tuple(raw_rows[:stride])
        kept = tuple(raw_rows[stride:])
        sink: tuple[int, ...] = ()
        if self._intervals == 0 and self.config.sink_size:
            sink = tuple(range(min(self.config.sink_size, len(window))))
        self.sink += len(sink)
        self.beacons += len(condensed)
        self._intervals += 1
        self._start += stride
        self._ratio = None
        self.window, self._raw = [], 0
        self.window += self._raw_entries(len(kept), ratio=0)
        self._raw = self._kept = len(kept)
        return Pass(
            done.tokens, done.cached, done.entries, done.memory, done.causal, True, done.ratio,
            sink, condensed, kept,
        )  # fmt: skip

    def _raw_entries(self, tokens: int, ratio: int) -> tuple[Slot, ...]:
        """Ordinary tokens, with an interleaved beacon after every `ratio`-th of the interval if `ratio`."""
        hidden = self.config.pos == "interleave" and self.config.attn == "step-expansion"
        entries: list[Slot] = []
        beacons = len(self.window) - self._raw
        index = self.memory + len(self.window)
        for raw in range(self._raw, self._raw + tokens):
            position = self.memory + raw if hidden else index + len(entries)
            entries.append(Slot(raw, BEACON, position, (0, raw + 1), (0, 0 if hidden else beacons)))
            if ratio and (raw + 1) % ratio == 0:
                position = self.memory + raw + 1 if hidden else index + len(entries)
                seen = (beacons if hidden else 0, beacons + 1)
                entries.append(Slot(BEACON, beacons, position, (0, raw + 1), seen))
                beacons += 1
        return tuple(entries)

    def _appended_beacons(self, ratio: int, index: int) -> tuple[Slot, ...]:
        """The beacons after a completed interval of append mode (`docs/FORMAT.md` 4.5, 4.6); `index`: rows before."""
        config, memory = self.config, self.memory
        entries = []
        for number in range(1, config.stride // ratio + 1):
            step = number - 1 if config.attend_prev else 0
            sees_beacons = (0 if config.attend_prev else number - 1, number)
            if config.attn == "full-coverage":
                sees_raw = (0, config.window)
                position = memory + index + step
            elif config.attn == "step-expansion":
                position, sees_raw = memory + number * ratio + step, (0, number * ratio)
            else:
                position, sees_raw = memory + ratio + step, ((number - 1) * ratio, number * ratio)
            entries.append(Slot(BEACON, number - 1, position, sees_raw, sees_beacons, config.attend_memory))
        return tuple(entries)

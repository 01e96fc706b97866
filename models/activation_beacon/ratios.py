"""Choosing the condensing ratio of each interval (`docs/FORMAT.md` 5; paper, section 3.3)."""

from typing import Protocol

import numpy as np

from activation_beacon.config import ADAPT, BeaconConfig
from activation_beacon.errors import ConfigError


class RatioChooser(Protocol):
    """Decides the ratio of the next interval of one sequence."""

    def choose(self, received: int, passes: int) -> int:
        """The next interval's ratio.

        Args:
            received: the sequence's tokens so far, the current call included.
            passes: the sequence's forward passes so far.
        """


class Fixed:
    """The same ratio for every interval."""

    def __init__(self, ratio: int) -> None:
        self.ratio = ratio

    def choose(self, received: int, passes: int) -> int:
        return self.ratio


class StepRandom:
    """A new draw for every interval."""

    def __init__(self, ratios: tuple[int, ...], rng: np.random.Generator) -> None:
        self.ratios, self.rng = ratios, rng

    def choose(self, received: int, passes: int) -> int:
        return int(self.rng.choice(self.ratios))


class Cycle:
    """The list's ratios one after another, over and over."""

    def __init__(self, ratios: tuple[int, ...]) -> None:
        self.ratios, self.turn = ratios, 0

    def choose(self, received: int, passes: int) -> int:
        self.turn += 1
        return self.ratios[(self.turn - 1) % len(self.ratios)]


class SequenceThenLast:
    """The list's ratios by the number of the pass, then the last one (`docs/FORMAT.md` 8: the first release)."""

    def __init__(self, ratios: tuple[int, ...]) -> None:
        self.ratios = ratios

    def choose(self, received: int, passes: int) -> int:
        return self.ratios[min(passes, len(self.ratios) - 1)]


class OncePerSequence:
    """What another chooser says first, kept for the whole sequence."""

    def __init__(self, first: RatioChooser) -> None:
        self.first = first
        self.ratio: int | None = None

    def choose(self, received: int, passes: int) -> int:
        if self.ratio is None:
            self.ratio = self.first.choose(received, passes)
        return self.ratio


class Adapt:
    """The ratio that holds what has come and `reserve` tokens more within `positions` with the least condensing."""

    def __init__(self, config: BeaconConfig, reserve: int, positions: int) -> None:
        self.config, self.reserve, self.positions = config, reserve, positions

    def choose(self, received: int, passes: int) -> int:
        capacity = {r: memory_capacity(r, self.config.window, self.positions) for r in self.config.usable_ratios}
        fitting = [r for r in capacity if capacity[r] >= received + self.reserve]
        return min(fitting, key=lambda r: capacity[r]) if fitting else max(capacity)


def memory_capacity(ratio: int, window: int, positions: int) -> int:
    """Tokens that fit into `positions` when all intervals but the last are condensed at `ratio`."""
    return (positions - window) * ratio + window if ratio else positions


def ratio_chooser(config: BeaconConfig, *, positions: int, rng: np.random.Generator) -> RatioChooser:
    """The chooser that `config.ratio_mix` names, for one sequence.

    Args:
        positions: the model's `max_position_embeddings`, times the factor of its `rope_scaling` if any.
        rng: shared by all sequences of a model, as in the reference.
    """
    if len(config.ratios) == 1:
        return Fixed(config.ratios[0])
    ratios = config.usable_ratios
    if config.ratio_mix == "step-random":
        return StepRandom(ratios, rng)
    if config.ratio_mix == "instance-random":
        return OncePerSequence(StepRandom(ratios, rng))
    if config.ratio_mix == "sequence":
        return Cycle(ratios)
    if config.ratio_mix == "sequence-last":
        return SequenceThenLast(ratios)
    adapt = ADAPT.fullmatch(config.ratio_mix)
    if adapt is None:
        raise ConfigError(f"unknown ratio_mix {config.ratio_mix!r}")
    return OncePerSequence(Adapt(config, int(adapt[1]), positions))

"""What training says while it works; `console` draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beacon_cli.events import Event


@dataclass(frozen=True)
class TrainingBegun:
    """Everything is loaded.

    Attributes:
        name: of the base model.
        parameters: that are trained.
        texts, tokens: to train on.
        step, steps: how many are done already, of how many.
    """

    name: str
    parameters: int
    texts: int
    tokens: int
    step: int
    steps: int


@dataclass(frozen=True)
class TrainStep:
    """One more step is done.

    Attributes:
        loss: what was minimised, the mean over the step's texts.
        parts: its objectives, unweighted.
        rate: learning rate.
        tokens_per_second: of this run so far.
        seconds_left: at that speed.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    rate: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Validated:
    """Cross-entropy on the validation data, by condensing ratio; "full" is the model reading it uncondensed."""

    step: int
    losses: dict[str, float]


@dataclass(frozen=True)
class Saved:
    """A checkpoint is durable."""

    step: int
    folder: Path


@dataclass(frozen=True)
class Reached:
    """How far a run has come.

    Attributes:
        step: how many are done.
        tokens, seconds: read and spent in all of them.
        loss: of the last.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = float("nan")


TrainingEvent = TrainingBegun | TrainStep | Validated | Saved
# What training reports to.
TrainingProgress = Callable[[Event | TrainingEvent], object]

"""What training does otherwise than reading: which passes, which ratios, which labels, and the loss of a text.

`docs/FORMAT.md` 5 and 6; paper, section 3.3.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from activation_beacon.checkpointing import checkpointed
from activation_beacon.config import BeaconConfig
from activation_beacon.errors import ConfigError
from activation_beacon.installed import Installed
from activation_beacon.memory import Activations, joined
from activation_beacon.objectives import (
    Objectives,
    Teacher,
    hidden_distance,
    layer_outputs,
    read_uncondensed,
    token_losses,
)
from activation_beacon.onepass import read_in_one_pass
from activation_beacon.planner import Pass, Planner
from activation_beacon.ratios import OncePerSequence, RatioChooser, ratio_chooser
from activation_beacon.rotary import position_tensor

IGNORED = -100


class _TrainingRatios:
    """Draws that drop 0 once it was drawn, and where too little text follows to learn from a raw interval."""

    def __init__(self, config: BeaconConfig, length: int, rng: np.random.Generator) -> None:
        self.config, self.length, self.rng = config, length, rng
        self.turn, self.used_raw = 0, False

    def choose(self, received: int, passes: int) -> int:
        config, start = self.config, self.turn * self.config.stride
        too_late = start + config.stride + config.window > self.length
        ratios = tuple(r for r in config.usable_ratios if r or not (self.used_raw or too_late)) or config.usable_ratios
        cycling = config.ratio_mix == "sequence"
        ratio = ratios[self.turn % len(ratios)] if cycling else int(self.rng.choice(ratios))
        self.turn += 1
        self.used_raw |= ratio == 0
        return ratio


def training_chooser(config: BeaconConfig, length: int, *, positions: int, rng: np.random.Generator) -> RatioChooser:
    """The ratios for training on one text of `length` tokens; see `ratios.ratio_chooser`."""
    draws = ("step-random", "instance-random", "sequence")
    if 0 not in config.ratios or len(config.ratios) == 1 or config.ratio_mix not in draws:
        return ratio_chooser(config, positions=positions, rng=rng)
    chooser = _TrainingRatios(config, length, rng)
    return OncePerSequence(chooser) if config.ratio_mix == "instance-random" else chooser


def training_passes(length: int, config: BeaconConfig, chooser: RatioChooser) -> list[Pass]:
    """The passes over a text of `length` tokens: the one that reaches its end brings no beacons and draws no ratio."""
    planner = Planner(config, chooser, until=length)
    passes = []
    while planner.consumed < length:
        passes.append(planner.take(length - planner.consumed))
    return passes


def shifted(ids: Tensor) -> Tensor:
    """(..., tokens) -> the same shape: the token that each one predicts, `IGNORED` for the last."""
    return torch.cat((ids[..., 1:], ids.new_full((*ids.shape[:-1], 1), IGNORED)), -1)


def training_labels(labels: Tensor, config: BeaconConfig) -> Tensor:
    """(..., tokens) ids, `IGNORED` where nothing is learned -> the same shape, shifted.

    Where beacons cannot be seen from within their interval, the first one has nothing to learn from and is left out.
    """
    moved = shifted(labels)
    if (config.pos, config.attn) != ("interleave", "full-coverage"):
        moved[..., : config.window] = IGNORED
    return moved


@dataclass(frozen=True)
class TextLoss:
    """The loss of one text.

    Attributes:
        total: what to differentiate.
        parts: the objectives that are part of it, unweighted and detached; "ar" also beside "distill" alone.
        learned: how many tokens they are a mean over.
    """

    total: Tensor
    parts: dict[str, Tensor]
    learned: int


def text_loss(
    attached: Installed,
    ids: Tensor,
    labels: Tensor,
    plans: Sequence[Pass],
    objectives: Objectives = Objectives(),  # noqa: B008  frozen
    *,
    intervals: int | None = None,
    checkpoint_layers: bool = False,
) -> TextLoss:
    """The loss of one text, differentiable in the beacon's parameters, through the memory of all earlier intervals.

    Args:
        attached: a frozen model in eval mode, with the beacon that is trained.
        ids: (tokens).
        labels: (tokens), from `training_labels`.
        plans: from `training_passes`.
        intervals: how many are read at a time. The backward pass computes each lot again, so that beside the memory
            only one is held; None reads all at once and computes nothing again. The same gradients either way.
        checkpoint_layers: keep only the inputs of layers, and compute those again too.

    Raises:
        ConfigError: if there is no token to learn from.
    """
    learned = labels != IGNORED
    count = int(learned.sum())
    if not count:
        raise ConfigError("the text has no token to learn from")
    teacher = None
    if objectives.distill or objectives.hidden:
        teacher = read_uncondensed(attached, ids, learned, layers=objectives.hidden > 0)
    length = max(plan.length for plan in plans)
    lesson = _Lesson(attached, length, ids, labels, learned, objectives, teacher, checkpoint_layers)
    memory: list[Activations] = []
    sums, left, start = torch.zeros(3, device=ids.device), None, 0
    size = intervals or len(plans)
    for first in range(0, len(plans), size):
        lot = plans[first : first + size]
        if size >= len(plans):
            part, done, left = lesson.read(lot, start, memory, left)
        else:
            part, done, left = checkpoint(
                lesson.read, lot, start, memory.copy(), left, use_reentrant=False, preserve_rng_state=False
            )
        sums = sums + part
        memory.append(done)
        start += sum(plan.tokens for plan in lot)
    ar, distill, hidden = sums[0] / count, sums[1] / count, sums[2]
    total = objectives.ar * ar + objectives.distill * distill + objectives.hidden * hidden
    parts = {"ar": ar, "distill": distill, "hidden": hidden}
    return TextLoss(total, {name: part.detach() for name, part in parts.items() if objectives.has(name)}, count)


@dataclass(frozen=True)
class _Lesson:
    """What the lots of one text share."""

    attached: Installed
    length: int
    ids: Tensor
    labels: Tensor
    learned: Tensor
    objectives: Objectives
    teacher: Teacher | None
    checkpoint_layers: bool

    def read(
        self, plans: Sequence[Pass], start: int, memory: list[Activations], left: Activations | None
    ) -> tuple[Tensor, Activations, Activations]:
        """Read some intervals from token `start` on.

        Returns:
            Sums of (cross-entropy, divergence, hidden distance); what became memory; what is left to the next lot.
        """
        attached = self.attached
        tokens = slice(start, start + sum(plan.tokens for plan in plans))
        prefix = None
        if plans[0].memory:
            prefix = joined(memory)
        with (
            checkpointed(attached) if self.checkpoint_layers else nullcontext(),
            layer_outputs(attached.decoder, wanted=self.objectives.hidden > 0) as outputs,
        ):
            carried = left if plans[0].cached else None
            done = read_in_one_pass(attached, plans, self.ids[None, tokens], prefix, carried, length=self.length)
        learned = self.learned[tokens]
        before = int(self.learned[:start].sum())
        part = slice(before, before + int(learned.sum()))
        losses = torch.zeros(2, device=self.ids.device)
        if self.objectives.has("ar"):
            teacher = self.teacher.last[part] if self.teacher and self.objectives.distill else None
            losses = token_losses(attached, done.hidden[0, learned], self.labels[tokens][learned], teacher)
        far = torch.zeros((), device=self.ids.device)
        if self.teacher and self.objectives.hidden:
            raw = [row for row, entry in enumerate(e for plan in plans for e in plan.entries) if not entry.is_beacon]
            at = position_tensor(raw, self.ids.device)[learned]
            far = hidden_distance([output[0, at] for output in outputs], self.teacher.layers, part)
        return (
            torch.cat((losses, far[None])),
            Activations(done.keys[0], done.values[0]),
            Activations(done.left[0][0], done.left[1][0]),
        )

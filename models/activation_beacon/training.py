"""What training does otherwise than reading: which passes, which ratios, which labels (`FORMAT.md` 5 and 6)."""

import numpy as np
import torch
from torch import Tensor, nn

from activation_beacon.config import BeaconConfig
from activation_beacon.planner import Pass, Planner
from activation_beacon.ratios import OncePerSequence, RatioChooser, ratio_chooser

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


def token_loss(model: nn.Module, hidden: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labels that are not `IGNORED`.

    Args:
        hidden: (batch, tokens, hidden) last hidden states.
        labels: (batch, tokens), shifted.
    """
    learned = labels != IGNORED
    logits = model.get_output_embeddings()(hidden[learned])  # type: ignore[operator]  # a PreTrainedModel method
    return nn.functional.cross_entropy(logits.float(), labels[learned])

"""What a beacon is trained towards: the text itself, or the same frozen model reading it uncondensed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activation_beacon.architecture import layers_of
from activation_beacon.errors import ConfigError
from activation_beacon.installed import Installed

# Logits that are held at a time: those of a long text and a large vocabulary would outweigh the model.
LOGITS = 1 << 24


@dataclass(frozen=True)
class Objectives:
    """How much each counts.

    Attributes:
        ar: cross-entropy with the text (the paper's).
        distill: KL divergence from the uncondensed model's next-token distribution.
        hidden: distance to its hidden states: mean over the layers of the squared distance, relative to their size.

    Raises:
        ConfigError: if a weight is negative or all are 0.
    """

    ar: float = 1.0
    distill: float = 0.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        weights = (self.ar, self.distill, self.hidden)
        if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
            raise ConfigError(f"the weights of ar, distill and hidden are {weights}: none may be negative, nor all 0")

    def has(self, name: str) -> bool:
        """Whether the objective of that name is computed: those that count, and "ar" also beside "distill"."""
        return getattr(self, name) > 0 or (name == "ar" and self.distill > 0)


@dataclass(frozen=True)
class Teacher:
    """What the uncondensed model makes of the learned tokens of a text.

    Attributes:
        last: (learned, hidden) last hidden states.
        layers: (learned, hidden) that each layer puts out; empty where no objective needs them.
    """

    last: Tensor
    layers: list[Tensor]


@torch.no_grad()
def read_uncondensed(attached: Installed, ids: Tensor, learned: Tensor, *, layers: bool = False) -> Teacher:
    """Read `ids` (tokens) with plain attention; what comes of it at the indices `learned`. Beacons rest."""
    attached.rotary.prepare(len(ids))
    with layer_outputs(attached.decoder, wanted=layers) as outputs:
        last = attached.run(ids[None], torch.arange(len(ids), device=ids.device))[0, learned]
    return Teacher(last, [output[0, learned] for output in outputs])


@contextmanager
def layer_outputs(decoder: nn.Module, *, wanted: bool = True) -> Iterator[list[Tensor]]:
    """A list that gets what every layer puts out, (batch, rows, hidden) each, within the block."""
    outputs: list[Tensor] = []

    def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    layers: list[nn.Module] = layers_of(decoder) if wanted else []
    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def token_losses(attached: Installed, hidden: Tensor, labels: Tensor, teacher: Tensor | None = None) -> Tensor:
    """(2): cross-entropy and, with a teacher, KL divergence from it, each summed over the tokens.

    Args:
        hidden: (tokens, hidden) last hidden states.
        labels: (tokens), all of them learned.
        teacher: (tokens, hidden) last hidden states of the uncondensed model.
    """
    of_slice = partial(_slice_losses, attached.logits)
    size = max(1, LOGITS // attached.head.weight.shape[0])
    total = torch.zeros(2, device=hidden.device)
    for start in range(0, len(labels), size):
        part = slice(start, start + size)
        given = hidden[part], labels[part], None if teacher is None else teacher[part]
        total = total + checkpoint(of_slice, *given, use_reentrant=False, preserve_rng_state=False)
    return total


def _slice_losses(logits: Callable[[Tensor], Tensor], hidden: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
    predicted = logits(hidden).log_softmax(-1)
    entropy = nn.functional.nll_loss(predicted, labels, reduction="sum")
    if teacher is None:
        return torch.stack((entropy, torch.zeros_like(entropy)))
    with torch.no_grad():
        target = logits(teacher).log_softmax(-1)
    divergence = nn.functional.kl_div(predicted, target, reduction="sum", log_target=True)
    return torch.stack((entropy, divergence))


def hidden_distance(outputs: list[Tensor], teacher: list[Tensor], part: slice) -> Tensor:
    """Mean over the layers of the squared distance to the teacher, relative to the teacher's size in the whole text.

    Args:
        outputs: (tokens, hidden) of every layer, for the learned tokens in `part`.
        teacher: the same of all learned tokens.
    """
    total = torch.zeros((), device=teacher[0].device)
    for output, target in zip(outputs, teacher, strict=True):
        distance = (output.float() - target[part].float()).square().sum()
        total = total + distance / target.float().square().sum()
    return total / len(teacher)

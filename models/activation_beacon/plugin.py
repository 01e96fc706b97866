"""The beacon's own parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.architecture import attention_modules, embeddings
from activation_beacon.config import BeaconConfig
from activation_beacon.errors import ConfigError
from activation_beacon.linear import Projection


@dataclass(frozen=True)
class ProjectionShape:
    """Input and output width of a projection, and whether it adds a bias."""

    inputs: int
    outputs: int
    bias: bool


def _weight(layer: Any) -> Tensor:
    weight: Tensor = layer.weight
    return weight


class Beacon(nn.Module):
    """What is trained: an embedding, and projections for the beacon rows of every layer.

    Args:
        config: the settings it is trained with.
        hidden: the model's hidden size.
        shapes: for every layer, the shape of each projection in `config.param`.
    """

    def __init__(self, config: BeaconConfig, hidden: int, shapes: list[dict[str, ProjectionShape]]) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.zeros(hidden))
        self.layers = nn.ModuleList(
            nn.ModuleDict({p: Projection(s.inputs, s.outputs, bias=s.bias) for p, s in layer.items()})
            for layer in shapes
        )

    @classmethod
    def like(cls, config: BeaconConfig, model: nn.Module) -> "Beacon":
        """An uninitialised beacon that fits `model`; load a checkpoint into it, or call `copy_base`.

        Raises:
            ConfigError: if the model's attention cannot carry a beacon.
        """
        attentions = attention_modules(model)
        hidden = embeddings(model).weight.shape[1]
        shapes = [{p: shape_of(getattr(a, f"{p}_proj")) for p in config.param} for a in attentions]
        return cls(config, hidden, shapes)

    @torch.no_grad()
    def copy_base(self, model: nn.Module, *, token: int, matrix: Callable[[Any], Tensor] = _weight) -> None:
        """Start from the model's own projections, and from the embedding of `token` (`docs/FORMAT.md` 1).

        Args:
            matrix: the weight of a projection, (out, in); must dequantize those that are quantized.

        Raises:
            ConfigError: if a projection's weight is not such a matrix.
        """
        self.embedding.copy_(embeddings(model).weight[token])
        for layer, attention in zip(self.layers, attention_modules(model), strict=True):
            for p, linear in layer.items():  # type: ignore[operator]  # nn.ModuleDict is typed as nn.Module here
                base = getattr(attention, f"{p}_proj")
                weight = matrix(base)
                if weight.shape != linear.weight.shape:
                    raise ConfigError("a beacon can only be copied from a model that is not quantized")
                linear.weight.copy_(weight)
                if linear.bias is not None:
                    linear.bias.copy_(base.bias)


def shape_of(projection: Any) -> ProjectionShape:
    """The shape of a projection of whatever kind."""
    return ProjectionShape(projection.in_features, projection.out_features, projection.bias is not None)

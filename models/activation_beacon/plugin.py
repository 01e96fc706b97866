"""The beacon's own parameters, and putting them into a stock transformers decoder and out of it again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.architecture import attention_modules, embeddings
from activation_beacon.config import BeaconConfig
from activation_beacon.errors import ConfigError
from activation_beacon.linear import BeaconLinear, BeaconRows


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
            nn.ModuleDict({p: nn.Linear(s.inputs, s.outputs, bias=s.bias) for p, s in layer.items()})
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
        shapes = [{p: _shape(getattr(a, f"{p}_proj")) for p in config.param} for a in attentions]
        return cls(config, hidden, shapes)

    @torch.no_grad()
    def copy_base(self, model: nn.Module, *, token: int, matrix: Callable[[Any], Tensor] = _weight) -> None:
        """Start from the model's own projections, and from the embedding of `token` (`FORMAT.md` 1).

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


def _shape(projection: Any) -> ProjectionShape:
    return ProjectionShape(projection.in_features, projection.out_features, projection.bias is not None)


def install(model: nn.Module, beacon: Beacon) -> BeaconRows:
    """Wrap the projections that the beacon has weights for; `remove` undoes it exactly.

    Returns:
        Where each pass says which of its rows are beacons.

    Raises:
        ConfigError: if the beacon does not fit the model, or one is already installed.
    """
    attentions = attention_modules(model)
    if len(attentions) != len(beacon.layers):
        raise ConfigError(f"the beacon has {len(beacon.layers)} layers, the model {len(attentions)}")
    for attention, layer in zip(attentions, beacon.layers, strict=True):
        for p in beacon.config.param:
            base, own = getattr(attention, f"{p}_proj"), layer[p]  # type: ignore[index]  # an nn.ModuleDict
            if isinstance(base, BeaconLinear):
                raise ConfigError("a beacon is already installed on this model")
            if _shape(base) != _shape(own):
                raise ConfigError(f"the beacon's {p}_proj is {_shape(own)}, the model's {_shape(base)}")
    rows = BeaconRows()
    for attention, layer in zip(attentions, beacon.layers, strict=True):
        for p in beacon.config.param:
            setattr(attention, f"{p}_proj", BeaconLinear(getattr(attention, f"{p}_proj"), layer[p], rows))  # type: ignore[index]  # an nn.ModuleDict
    return rows


def remove(model: nn.Module) -> None:
    """Put every wrapped projection back."""
    for attention in attention_modules(model):
        for p in "qkvo":
            wrapped = getattr(attention, f"{p}_proj")
            if isinstance(wrapped, BeaconLinear):
                setattr(attention, f"{p}_proj", wrapped.base_layer)


@contextmanager
def installed(model: nn.Module, beacon: Beacon) -> Iterator[BeaconRows]:
    """`install` for the duration of a `with` block."""
    rows = install(model, beacon)
    try:
        yield rows
    finally:
        remove(model)


def embed(model: nn.Module, beacon: Beacon, ids: Tensor, rows: Tensor | None) -> Tensor:
    """Input embeddings (batch, length, hidden) of `ids` (batch, length), the beacon's own at `rows`."""
    embedded: Tensor = embeddings(model)(ids)
    if rows is None:
        return embedded
    beacons = beacon.embedding.to(embedded.dtype).expand(ids.shape[0], rows.shape[0], -1)
    return embedded.index_copy(1, rows, beacons)

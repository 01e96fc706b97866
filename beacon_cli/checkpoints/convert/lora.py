"""A LoRA: a low-rank change of a model's projections, put into their weights when the model is converted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beacon_cli.checkpoints.convert.tensor_files import StoredTensor, read_header
from beacon_cli.checkpoints.local.model_folder import READER, READER_CONFIG
from beacon_cli.errors import ModelError

# What the weights were rounded to when the change was learned, and are again when it is in them.
DTYPE = torch.bfloat16
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Lora:
    """A change that was learned for one file of weights: `W x + scale · B A x`.

    Attributes:
        folder: it was read from.
        base, base_sha256: name and checksum of the file that it was learned for.
        scale: `alpha / rank`.
        parts: A (rank, in) and B (out, rank) of each weight that is changed, by the weight's name.
    """

    folder: Path
    base: str
    base_sha256: str
    scale: float
    parts: Mapping[str, tuple[StoredTensor, StoredTensor]]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Whether it is a change of a model whose weights have these shapes, by name.

        Raises:
            ModelError: if it is not.
        """
        for name, (a, b) in self.parts.items():
            if shapes.get(name) != (b.shape[0], a.shape[1]):
                raise ModelError(
                    f"{self.folder / READER} does not fit {self.base}: it changes {name} of shape "
                    f"{(b.shape[0], a.shape[1])}, and there it is {shapes.get(name, 'missing')}"
                )

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """A weight (out, in), in `DTYPE`, with its change.

        Summed in float64, in which rounding practically never depends on the order: the same weights, to the bit, on
        every machine, for a beacon is bound to them.
        """
        a, b = (part.read(DTYPE).double() for part in self.parts[name])
        return (weight.double() + self.scale * b @ a).to(DTYPE)

    def factors(self, name: str) -> tuple[Tensor, Tensor]:
        """(rank, in) and (out, rank) of a weight's change, the first to be applied first."""
        a, b = (part.read(DTYPE).float() for part in self.parts[name])
        return a, self.scale * b


def read_lora(folder: Path) -> Lora:
    """Read the LoRA in `folder`, its weights not yet.

    Raises:
        ModelError: if it is missing or damaged.
    """
    path = folder / READER_CONFIG
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
        base, sha256, rank = config["base"], config["base_sha256"], config["rank"]
        scale = config["alpha"] / rank
        if not (isinstance(base, str) and _SHA256.fullmatch(sha256) and scale > 0):
            raise ValueError("base, base_sha256, rank and alpha do not name a base and a scale")
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise ModelError(f"{path} cannot be used ({error}): install the tool again") from None
    tensors = read_header(folder / READER)
    parts = {}
    for name, a in tensors.items():
        module, _, part = name.rpartition(".")
        b = tensors.get(f"{module}.lora_B")
        if part == "lora_A" and b is not None and (*a.shape[:1], *b.shape[1:]) == (rank, rank):
            parts[f"{module}.weight"] = a, b
    if 2 * len(parts) != len(tensors) or not parts:
        raise ModelError(
            f"{folder / READER} holds no pairs of rank {rank}, as {READER_CONFIG} says: install the tool again"
        )
    return Lora(folder, base, sha256, scale, parts)

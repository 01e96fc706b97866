"""A scorer predicts what asking the model to say an interval again would score, so that reading it once is enough.

KVzap's idea (arXiv 2601.07891). One linear map a layer, fitted in closed form, takes a token's keys and values, which
are linear in its hidden state and are there anyway, and the logarithms of their lengths, to the logarithms of the
scores of the layer's heads.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from activation_beacon.errors import CheckpointError
from activation_beacon.files import SCORER_FILE
from activation_beacon.memory import Activations

FORMAT_VERSION = 1
# How much of the features' mean square is added to it where they are fitted.
RIDGE = 1e-3
# Lengths and scores below this are taken for it: their logarithms say nothing.
LEAST = 1e-8


@dataclass(frozen=True)
class Scorer:
    """What predicts scores.

    Attributes:
        weight: (layers, features, kv_heads) float32; features are those of `_features`.
        base_name: of the model it was fitted to, for messages.
        base_fingerprint: that model's fingerprint; the scorer belongs to no other.
    """

    weight: Tensor
    base_name: str
    base_fingerprint: str

    def scores(self, rows: Activations) -> Tensor:
        """Logarithms of the scores, (layers, kv_heads, rows) float32, of rows with position-free keys."""
        weight = self.weight.to(rows.keys.device)
        layers = zip(rows.keys, rows.values, weight, strict=True)
        return torch.stack([(_features(keys, values) @ each).T for keys, values, each in layers])


class ScorerFit:
    """Gathers what a scorer is fitted to: the normal equations of each layer, whatever the amount of text."""

    def __init__(self) -> None:
        self.tokens = 0
        self._squares: list[Tensor] = []
        self._products: list[Tensor] = []
        self._targets = torch.zeros(2, dtype=torch.float64)

    def add(self, rows: Activations, scores: Tensor) -> None:
        """Take (layers, kv_heads, rows) scores of rows into account."""
        self.tokens += rows.size
        for layer, (keys, values, score) in enumerate(zip(rows.keys, rows.values, scores, strict=True)):
            features = _features(keys, values)
            target = score.float().clamp(min=LEAST).log().T
            square, product = (features.T @ features).double(), (features.T @ target).double()
            if layer == len(self._squares):
                self._squares.append(torch.zeros_like(square))
                self._products.append(torch.zeros_like(product))
            self._squares[layer] += square
            self._products[layer] += product

    def scorer(self, base_name: str, base_fingerprint: str) -> Scorer:
        """What fits best."""
        squares, products = torch.stack(self._squares), torch.stack(self._products)
        ridge = RIDGE * squares.diagonal(dim1=1, dim2=2).mean(-1)
        squares.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
        weight = torch.cholesky_solve(products, torch.linalg.cholesky(squares)).float().cpu()
        return Scorer(weight, base_name, base_fingerprint)


def _features(keys: Tensor, values: Tensor) -> Tensor:
    """(rows, features) float32 of one layer's (kv_heads, rows, head_dim): these, the logarithms of their lengths, 1."""
    both = torch.cat((keys, values)).float()
    lengths = both.norm(dim=-1).clamp(min=LEAST).log().T
    return torch.cat((both.transpose(0, 1).flatten(1), lengths, torch.ones_like(lengths[:, :1])), 1)


def save_scorer(folder: Path, scorer: Scorer) -> None:
    """Write it into `folder`, creating that."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "format_version": FORMAT_VERSION,
        "base_name": scorer.base_name,
        "base_fingerprint": scorer.base_fingerprint,
    }
    part = folder / f".{SCORER_FILE}"
    save_file({"weight": scorer.weight.contiguous()}, part, metadata={"scorer": json.dumps(about)})
    part.replace(folder / SCORER_FILE)


def load_scorer(folder: Path) -> Scorer:
    """Read the scorer in `folder`.

    Raises:
        CheckpointError: if it is missing, damaged, or of another format version.
    """
    path = folder / SCORER_FILE
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["scorer"])
            weight = file.get_tensor("weight")
        version, name, fingerprint = (about[key] for key in ("format_version", "base_name", "base_fingerprint"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is no scorer that can be read ({reason}): fit or download it again") from error
    if version != FORMAT_VERSION or weight.ndim != 3 or not weight.is_floating_point() or not weight.isfinite().all():
        raise CheckpointError(f"{path} is no scorer of format {FORMAT_VERSION}: fit it again (beacon train --scorer)")
    return Scorer(weight.float(), str(name), str(fingerprint))

"""LoRA on a frozen bfloat16 model, with one hand-written gradient for all of a projection.

`peft` keeps the input of every projection in float32 for its adapter and computes the adapter apart from the base.
Here both are bfloat16 products, which a CPU with AMX does about eight times as fast, and what the adapter adds is
accumulated into the base's own output. The trained weights themselves stay float32: a step is too small for bfloat16
to hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _Product(torch.autograd.Function):
    """`x W' + x A' B'`; x is (rows, in), W (out, in), A (rank, in), B (out, rank), all of one type. W is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        inner = x @ a.T
        ctx.save_for_backward(x, weight, a, b, inner)
        return torch.addmm(x @ weight.T, inner, b.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        (grad,) = gradients
        x, weight, a, b, inner = ctx.saved_tensors
        grad_inner = grad @ b
        return torch.addmm(grad @ weight, grad_inner, a), None, grad_inner.T @ x, grad.T @ inner


class LoraLinear(nn.Module):
    """A frozen projection without a bias and the low-rank change that is learned for it.

    Args:
        base: the projection, (out, in).
        rank: of the change.
        scale: what the change is multiplied by (`alpha / rank`).

    Attributes:
        lora_A: (rank, in), float32, uniform as a fresh `nn.Linear`.
        lora_B: (out, rank), float32, zero: an untrained adapter changes nothing.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        if base.bias is not None:
            raise ValueError("a projection with a bias is not supported")
        self.base: nn.Linear = base.requires_grad_(False)
        self.scale: float = scale
        self.lora_A: nn.Parameter = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B: nn.Parameter = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the base's type."""
        weight = self.base.weight
        a, b = self.lora_A.to(weight.dtype), (self.lora_B * self.scale).to(weight.dtype)
        flat: Tensor = _Product.apply(x.reshape(-1, x.shape[-1]), weight, a, b)  # type: ignore[no-untyped-call]  # untyped
        return flat.view(*x.shape[:-1], -1)

    @torch.no_grad()
    def merged(self) -> Tensor:
        """The projection's weight with the change in it, (out, in), in the base's type."""
        change = self.scale * self.lora_B @ self.lora_A
        weight: Tensor = self.base.weight
        return (weight.float() + change).to(weight.dtype)


def add_adapter(model: nn.Module, rank: int, alpha: float) -> None:
    """Freeze `model` and put a `LoraLinear` in the place of every projection named in `TARGETS`."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in TARGETS and isinstance(child, nn.Linear):
                setattr(module, name, LoraLinear(child, rank, alpha / rank))


def adapted(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Every adapted projection with its name in the model as it was, such as `model.layers.0.self_attn.q_proj`."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLinear))


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights themselves (no copies), as `model.layers.0.self_attn.q_proj.lora_A` -> (rank, in)."""
    return {
        f"{name}.{part}": getattr(module, part).data for name, module in adapted(model) for part in ("lora_A", "lora_B")
    }


@torch.no_grad()
def load_adapter(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Set the trained weights of an adapted model.

    Raises:
        ValueError: if `tensors` are another model's.
    """
    own = adapter_tensors(model)
    if own.keys() != tensors.keys():
        raise ValueError(f"the adapter is of another model: {sorted(own.keys() ^ tensors.keys())[:2]} do not match")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def merge_adapter(model: nn.Module) -> None:
    """Put the changes into the base's weights, and the plain projections back into their places."""
    for name, lora in list(adapted(model)):
        parent, _, leaf = name.rpartition(".")
        lora.base.weight.data = lora.merged()
        setattr(model.get_submodule(parent), leaf, lora.base)

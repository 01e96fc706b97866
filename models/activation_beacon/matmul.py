"""Products of many rows in float32 on the CPU: oneDNN's, where torch would ask MKL.

MKL does not use what AMD's processors have of AVX-512, oneDNN does: on one that has it, a product takes two fifths of
the time, with AVX2 five sixths. The sums are of the same terms in another order.
"""

import torch
from torch import Tensor
from torch.nn import functional

# For fewer rows, what oneDNN prepares for a shape takes longer than the product.
LEAST_ROWS = 17
_FASTER = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch has no types there
    and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(…, rows, in) @ (out, in)^T + (out) -> (…, rows, out), all of one type."""
    if x.dtype == torch.float32 and by_onednn(x) and x.numel() >= LEAST_ROWS * x.shape[-1]:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return functional.linear(x, weight, bias)


def by_onednn(x: Tensor) -> bool:
    """Whether oneDNN makes the products of `x` on this CPU: in 16 bits torch has it do so, in 32 where it can do
    without gradients."""
    return x.dtype != torch.float32 or (_FASTER and x.device.type == "cpu" and not torch.is_grad_enabled())

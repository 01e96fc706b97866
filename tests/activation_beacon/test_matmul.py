"""A product is the same, but for rounding, whoever makes it."""

import pytest
import torch
from torch.nn import functional

from activation_beacon import matmul
from activation_beacon.matmul import LEAST_ROWS, linear

SHAPES = [(1, 1), (1, LEAST_ROWS - 1), (1, LEAST_ROWS), (3, LEAST_ROWS), (2, 300), (0, 5)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each product that torch's own function is asked for."""
    rows: list[int] = []
    own = functional.linear

    def counted(x: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor:
        rows.append(x.numel() // x.shape[-1])
        return own(x, *rest)

    monkeypatch.setattr(matmul.functional, "linear", counted)
    return rows


@torch.inference_mode()
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("biased", [False, True])
def test_a_product_is_torchs(shape: tuple[int, int], biased: bool) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(*shape, 48), torch.randn(40, 48), torch.randn(40) if biased else None
    torch.testing.assert_close(linear(x, weight, bias), functional.linear(x, weight, bias))
    across = torch.randn(48, 40).T
    torch.testing.assert_close(linear(x, across, bias), functional.linear(x, across, bias))
    part = torch.randn(*shape, 96)[..., ::2]
    torch.testing.assert_close(linear(part, weight, bias), functional.linear(part, weight, bias))
    short, narrow = x.bfloat16(), weight.bfloat16()
    assert torch.equal(linear(short, narrow), functional.linear(short, narrow))


@pytest.mark.skipif(not matmul._FASTER, reason="this processor has no AVX2, or this torch no oneDNN")
def test_many_rows_are_onednns(asked: list[int]) -> None:
    x, weight = torch.randn(LEAST_ROWS, 48), torch.randn(40, 48)
    with torch.inference_mode():
        linear(x, weight)
        assert not asked
        linear(x[1:], weight)
    assert asked == [LEAST_ROWS - 1]


def test_a_product_has_gradients() -> None:
    x, weight = torch.randn(2 * LEAST_ROWS, 48), torch.randn(40, 48, requires_grad=True)
    linear(x, weight).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, x.sum(0).expand(40, 48))

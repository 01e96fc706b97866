"""A stand-in for an attention mask that does the attending itself: the one way into a stock model's attention."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from activation_beacon.errors import ConfigError


class MaskStandIn(Tensor):
    """Goes through transformers as an attention mask; as a tensor it is of one element, and nothing reads it."""

    @classmethod
    def on(cls, device: torch.device) -> Any:
        """One of them, for its maker to complete."""
        return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device).as_subclass(cls)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **how: Any) -> Tensor:
        """What `scaled_dot_product_attention` is to do."""
        raise NotImplementedError

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is scaled_dot_product_attention:
            how = dict(kwargs or {})
            return how.pop("attn_mask").attend(*args, **how)
        if function is Tensor.to:  # hooks that move arguments to a layer's device
            return args[0]
        if getattr(function, "__name__", "") == "__get__":
            return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # untyped in torch
        raise ConfigError("this way of reading needs a model that is loaded with attn_implementation='sdpa'")

"""Finding one's way in a stock transformers decoder, and refusing those that cannot carry a beacon, by name."""

import sys
from typing import Any, cast

import torch
from torch import Tensor, nn

from activation_beacon.errors import ConfigError
from activation_beacon.rotary import turn


def decoder_of(model: nn.Module) -> nn.Module:
    """The decoder stack below the language-model head.

    Raises:
        ConfigError: if there is none.
    """
    decoder = getattr(model, "model", None)
    if not isinstance(decoder, nn.Module) or not isinstance(getattr(decoder, "layers", None), nn.ModuleList):
        raise ConfigError(f"{type(model).__name__} is not a decoder that a beacon fits: no `model.layers`")
    return decoder


def layers_of(decoder: nn.Module) -> list[nn.Module]:
    """The layers of what `decoder_of` found."""
    return list(cast(nn.ModuleList, decoder.layers))


def embeddings(model: nn.Module) -> nn.Embedding:
    """The model's input embeddings."""
    found: nn.Embedding = model.get_input_embeddings()  # type: ignore[operator]  # a PreTrainedModel method
    return found


def attention_modules(model: nn.Module) -> list[nn.Module]:
    """The self-attention of every layer.

    Raises:
        ConfigError: saying what keeps the model from carrying a beacon.
    """
    _check_config(model)
    found = []
    for index, layer in enumerate(layers_of(decoder_of(model))):
        attention = getattr(layer, "self_attn", None)
        if not all(isinstance(getattr(attention, f"{p}_proj", None), nn.Module) for p in "qkvo"):
            parts = dict(attention.named_children()) if isinstance(attention, nn.Module) else {}
            fused = "".join(f" (but {name})" for name in sorted(parts) if "qkv" in name)
            raise _cannot(model, f"layer {index} has no separate q_proj, k_proj, v_proj and o_proj{fused}")
        if not getattr(attention, "use_rope", True):
            raise _cannot(model, f"layer {index} has no rotary positions")
        found.append(attention)
    _check_rotation(model, found[0])  # type: ignore[arg-type]  # checked above: no None
    return found  # type: ignore[return-value]  # checked above: no None


def _cannot(model: nn.Module, why: str) -> ConfigError:
    return ConfigError(f"{type(model).__name__} cannot carry a beacon: {why}")


def _check_config(model: nn.Module) -> None:
    config: Any = model.config
    kinds = sorted({*(getattr(config, "layer_types", None) or ())} - {"full_attention"})
    if kinds:
        raise _cannot(model, f"some of its layers have {', '.join(kinds)} where the memory must be seen whole")
    if getattr(config, "_attn_implementation", "sdpa") != "sdpa":
        # Others take no boolean masks, some of them silently.
        raise _cannot(model, "it must be loaded with attn_implementation='sdpa'")
    for name in ("logits_scaling", "logit_scale", "final_logit_softcapping"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise _cannot(model, f"its logits depend on {name}, which is not supported")


def _check_rotation(model: nn.Module, attention: nn.Module) -> None:
    """Memory keys are moved by turning both halves of a head against each other: does the model do the same?"""
    apply = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    own = getattr(decoder_of(model), "rotary_emb", None)
    inv_freq = getattr(own, "inv_freq", None)
    if apply is None or not isinstance(inv_freq, Tensor):
        raise _cannot(model, "it has no rotary position embedding of the known kind")
    half = inv_freq.shape[-1]
    width = getattr(attention, "head_dim", 2 * half)
    # Three keys at distinct angles, off the model's device: this must work for a model without weights.
    angles = torch.arange(3.0, device="cpu")[:, None] * torch.linspace(1.0, 0.1, half, device="cpu")
    keys = torch.linspace(-1.0, 1.0, 3 * width, device="cpu").reshape(1, 1, 3, width)
    cos, sin = (torch.cat((part, part), -1)[None] for part in (angles.cos(), angles.sin()))
    try:
        turned = apply(keys[..., : 2 * half], keys[..., : 2 * half], cos, sin)[1]
    except (TypeError, ValueError, RuntimeError):
        # Another signature is another rotation.
        turned = None
    expected = turn(keys, angles.cos(), angles.sin(), 1.0)[..., : 2 * half]
    if turned is None or turned.shape != expected.shape or not torch.allclose(turned, expected, atol=1e-5):
        raise _cannot(model, "it rotates its keys in a way that is not known here")

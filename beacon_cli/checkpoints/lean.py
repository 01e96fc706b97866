"""Loading a model of a known kind straight from its files: without transformers, whose import alone takes seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from activation_beacon.decoder import DecoderConfig, LanguageModel
from activation_beacon.rotary import scaled_rotary
from beacon_cli.checkpoints.convert.four_bit import dequantize, quantize
from beacon_cli.checkpoints.local.model_folder import MARK, weight_files
from beacon_cli.errors import ModelError

_KINDS = {name.lower(): f"{name}ForCausalLM" for name in ("Llama", "Mistral", "Qwen2", "Qwen3")}
_ROTARY = ("default", "linear", "llama3")
_QKV, _OUT, _MLP = ("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj", "down_proj")


def outline(settings: Mapping[str, Any]) -> LanguageModel | None:
    """The model that a `config.json` describes, without its weights; None if that is none of the known kinds.

    Whatever is unusual is left to transformers, and so is saying what is wrong.
    """
    kind, rope = settings.get("model_type"), _rope(settings)
    if (
        kind not in _KINDS
        or settings.get("architectures") != [_KINDS[kind]]
        or settings.get("hidden_act") != "silu"
        or settings.get("use_sliding_window", False) is not False
        or set(settings.get("layer_types") or ()) - {"full_attention"}
        or rope is None
        or not _known_bits(settings.get("quantization_config"))
    ):
        return None
    biases, tied = _biases(kind, settings), settings.get("tie_word_embeddings", False)
    sizes = _sizes(settings)
    if biases is None or sizes is None or type(tied) is not bool:
        return None
    scaling = None if rope["rope_type"] == "default" else rope
    config = DecoderConfig(rope_parameters=rope, tie_word_embeddings=tied, **sizes)
    rotary = scaled_rotary(
        scaling, base=rope["rope_theta"], dim=config.head_dim, positions=config.max_position_embeddings
    )
    with torch.device("meta"):
        return LanguageModel(config, rotary.inv_freq, biases, norms=kind == "qwen3").eval().requires_grad_(False)


def _known_bits(quantization: Any) -> bool:
    """Whether weights are stored as they are, or in the four bits that `four_bit` decodes."""
    if not isinstance(quantization, dict):
        return quantization is None
    stated = [quantization.get(name) for name in ("quant_method", "load_in_4bit", "bnb_4bit_quant_type")]
    return stated == ["bitsandbytes", True, "nf4"]


def _rope(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a configuration, of whatever age, says of rotary positions; None if that is not among the known kinds."""
    rope = settings.get("rope_parameters")
    if rope is None:
        rope = {**(settings.get("rope_scaling") or {}), "rope_theta": settings.get("rope_theta")}
    if not isinstance(rope, dict):
        return None
    kind = rope.get("rope_type", rope.get("type", "default"))
    numbers = {name: value for name, value in rope.items() if name not in ("rope_type", "type")}
    known = {"rope_theta", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}
    if kind not in _ROTARY or set(numbers) - known or any(type(n) not in (int, float) for n in numbers.values()):
        return None
    return {**numbers, "rope_type": kind}


def _biases(kind: str, settings: Mapping[str, Any]) -> dict[str, bool] | None:
    """Which projections have one, by the rules of each kind."""
    attention, mlp = settings.get("attention_bias", False), settings.get("mlp_bias", False)
    if type(attention) is not bool or type(mlp) is not bool:
        return None
    of_qkv = kind == "qwen2" or (attention and kind != "mistral")
    of_out = attention and kind in ("llama", "qwen3")
    return dict.fromkeys(_QKV, of_qkv) | dict.fromkeys(_OUT, of_out) | dict.fromkeys(_MLP, mlp and kind == "llama")


def _sizes(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "max_position_embeddings",
    )  # fmt: skip
    sizes: dict[str, Any] = {name: settings.get(name) for name in names}
    eps, own = settings.get("rms_norm_eps"), settings.get("head_dim")
    if any(type(size) is not int or size < 1 for size in sizes.values()) or type(eps) is not float:
        return None
    if own is None and settings["model_type"] != "qwen3":  # which has another default
        own = sizes["hidden_size"] // sizes["num_attention_heads"]
    if type(own) is not int or own < 2 or own % 2 or sizes["num_attention_heads"] % sizes["num_key_value_heads"]:
        return None
    return {**sizes, "head_dim": own, "rms_norm_eps": eps}


def fill(model: LanguageModel, folder: Path, *, bits: int, dtype: torch.dtype) -> bool:
    """Give an outlined model its weights.

    Args:
        bits: 4 if its projections are to be those of 4 bits where they are not stored so.
        dtype: of what is multiplied with; norms are float32. What is stored in this type stays where it is on disk.

    Returns:
        Whether the files hold exactly what the model needs; if not, it is for transformers to say what of it matters.

    Raises:
        ModelError: if a file is damaged.
    """
    entries: dict[str, Tensor] = {}
    try:
        for path in weight_files(folder):
            with safe_open(path, framework="pt") as file:
                entries |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the model in {folder} cannot be loaded ({reason}): download or convert it again") from error
    if model.config.tie_word_embeddings and "model.embed_tokens.weight" in entries:
        entries["lm_head.weight"] = entries["model.embed_tokens.weight"]
    norms = {f"{name}.weight" for name, module in model.named_modules() if name.endswith("norm")}
    wanted, state = model.state_dict(), {}
    for name, expected in wanted.items():
        if name not in entries:
            return False
        weight = _weight(name, entries, bits)
        if weight.shape != expected.shape or not weight.is_floating_point():
            return False
        state[name] = nn.Parameter(weight.to(torch.float32 if name in norms else dtype), requires_grad=False)
    stray = [
        name for name in entries if name not in wanted and name.rpartition(".weight.")[0] + ".weight" not in wanted
    ]
    if any(not name.endswith("rotary_emb.inv_freq") for name in stray):
        return False
    model.load_state_dict(state, assign=True)
    return True


def _weight(name: str, entries: Mapping[str, Tensor], bits: int) -> Tensor:
    if f"{name}{MARK}" in entries:
        return dequantize(name, entries)
    weight = entries[name]
    if bits == 4 and name.endswith("_proj.weight"):
        return dequantize(name, quantize(name, weight.float()))
    return weight

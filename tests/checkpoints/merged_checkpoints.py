"""Tiny checkpoints in exactly the format of the released ones: base and beacon together, random, with a tokenizer."""

import copy
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tests.checkpoints.tokenizer import toy_tokenizers

LLAMA2, MISTRAL, QWEN2 = (
    f"namespace-Pt/{name}"
    for name in ("activation-beacon-llama2-7b-chat", "activation-beacon-mistral-7b", "beacon-qwen-2-7b-instruct")
)
ULTRAGIST_LLAMA2, ULTRAGIST_MISTRAL = (
    f"namespace-Pt/ultragist-{name}" for name in ("llama2-7b-chat", "mistral-7b-inst")
)
MEMORAG_QWEN2, MEMORAG_MISTRAL = (f"TommyChien/memorag-{name}" for name in ("qwen2-7b-inst", "mistral-7b-inst"))
VOCABULARY = 704
COMMON: dict[str, Any] = {
    "bos_token_id": None,
    "eos_token_id": 700,
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 1024,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.4",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}


def _family(model_type: str, name: str, heads: int, **settings: Any) -> dict[str, Any]:
    """What a base model of this family has in its configuration."""
    return {
        "model_type": model_type,
        "architectures": [f"{name}ForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": f"modeling_{model_type}.{name}ForCausalLM"},
        "num_key_value_heads": heads,
        **settings,
    }


AS_MISTRAL = _family("mistral", "Mistral", 2, sliding_window=16)
V1: dict[str, Any] = {
    **COMMON,
    **_family("llama", "Llama", 4),
    "beacon_window": 32,
    "beacon_stride": [32],
    "beacon_stride_mix": "step-random",
    "beacon_attn": "step-expansion",
    "beacon_attend_previous": True,
    "beacon_ratio": [2, 4, 8, 16],
    "beacon_ratio_mix": "step-random",
    "beacon_param": ["q", "k", "v", "o"],
    "retrieval_method": None,
    "retrieval_topk": None,
}
_BETWEEN: dict[str, Any] = {
    "window": 32,
    "stride": 32,
    "attn": "step-expansion",
    "attend_prev": False,
    "ratio": [2, 4, 8],
    "ratio_mix": "adapt-1024",
    "param": ["q", "k", "v", "o"],
    "embed_init": "eos",
    "sink_size": 0,
}
BETWEEN: dict[str, Any] = {
    **COMMON,
    **AS_MISTRAL,
    **{f"beacon_{name}": value for name, value in _BETWEEN.items()},
    "retrieval_method": None,
    "retrieval_topk": None,
}
V2: dict[str, Any] = {
    **COMMON,
    **_family("qwen2", "Qwen2", 2, sliding_window=16, use_sliding_window=False, max_window_layers=28),
    "beacon_window": 32,
    "beacon_stride": 32,
    "beacon_attn": "full-coverage",
    "beacon_attend_prev": True,
    "beacon_ratio": [2, 4, 8, 16, 32],
    "beacon_ratio_mix": "step-random",
    "beacon_param": ["q", "k", "v"],
    "beacon_pos": "interleave",
    "beacon_embed_init": "eos",
    "beacon_sink_size": 0,
    "beacon_parallel_window": 1,
}
_ULTRAGIST = {**_BETWEEN, "attend_prev": True, "ratio": [2, 4, 8, 16, 32], "sink_size": 1}
ULTRAGIST: dict[str, Any] = {
    **COMMON,
    **_family("llama", "Llama", 4, pretraining_tp=1),
    **{f"ultragist_{name}": value for name, value in _ULTRAGIST.items()},
    "retrieval_method": None,
    "retrieval_topk": None,
    "retrieval_key_length": None,
}
RELEASED = {
    LLAMA2: V1,
    MISTRAL: BETWEEN,
    QWEN2: V2,
    ULTRAGIST_LLAMA2: ULTRAGIST,
    ULTRAGIST_MISTRAL: {
        **{key: value for key, value in ULTRAGIST.items() if not key.startswith(("retrieval_", "pretraining_"))},
        **AS_MISTRAL,
        "ultragist_attend_prev": False,
    },
    MEMORAG_QWEN2: V2,
    MEMORAG_MISTRAL: {**V2, **AS_MISTRAL},
}


def prefix(settings: dict[str, Any]) -> str:
    """Of the beacon's settings and parameters."""
    return "ultragist_" if "ultragist_window" in settings else "beacon_"


@dataclass
class Checkpoint:
    """What a checkpoint is written from; may be changed before.

    Attributes:
        shards: into how many files the tensors go; one has no index.
    """

    settings: dict[str, Any]
    tensors: dict[str, Tensor]
    shards: int = 2
    places: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write it all, into a new folder."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.settings))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 700}))
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
        (folder / "LICENSE").write_text("Do as you like.")
        (folder / "modeling_llama.py").write_text("raise SystemExit('remote code ran')\n")
        toy_tokenizers.save(folder, _tokenizer(), eos_token="<|end|>")
        for index in range(self.shards):
            names = sorted(self.tensors)[index :: self.shards]
            shard = "model.safetensors" if self.shards == 1 else f"model-{index + 1:05}-of-{self.shards:05}.safetensors"
            save_file(
                {name: self.tensors[name].contiguous() for name in names}, folder / shard, metadata={"format": "pt"}
            )
            self.places |= dict.fromkeys(names, shard)
        if self.shards > 1:
            (folder / "model.safetensors.index.json").write_text(
                json.dumps({"metadata": {}, "weight_map": self.places})
            )
        return folder


@functools.cache
def _tokenizer() -> Any:
    return toy_tokenizers.STYLES["qwen2"]()


def checkpoint(settings: dict[str, Any], *, dtype: torch.dtype = torch.bfloat16, **changes: Any) -> Checkpoint:
    """A random checkpoint with the configuration `settings`, changed by `changes`."""
    settings = {**settings, **changes}
    # A copy, as transformers writes into what it is given.
    stock = {
        key: value
        for key, value in copy.deepcopy(settings).items()
        if not key.startswith(("beacon_", "ultragist_", "retrieval_", "auto_map"))
    }
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[settings["model_type"]].from_dict(stock))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if settings["tie_word_embeddings"]:
        del shapes["lm_head.weight"]
    for name, shape in list(shapes.items()):
        for letter in settings[f"{prefix(settings)}param"]:
            if f".self_attn.{letter}_proj." in name:
                shapes[name.replace(f"{letter}_proj", f"{prefix(settings)}{letter}_proj")] = shape
    shapes[f"model.{prefix(settings)}embed_tokens.weight"] = (1, settings["hidden_size"])
    generator = torch.Generator().manual_seed(0)
    tensors = {name: (torch.randn(shape, generator=generator) * 0.05).to(dtype) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        if "norm" in name:
            tensor.fill_(1)
    return Checkpoint(settings, tensors)


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder, for a repository."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

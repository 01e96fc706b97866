"""Tiny random models of every supported architecture, with a random beacon, for laws that need no training."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
VOCABULARY = 97
CONFIG = BeaconConfig(window=16, stride=16, ratios=(0, 2, 4, 8))


def tiny_model(architecture: str = "llama", **settings: Any) -> Any:
    """A random decoder in eval mode: 2 layers, 32 wide, 4 heads, 2 of them for keys and values."""
    torch.manual_seed(7)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }
    config = AutoConfig.for_model(architecture, **(shape | settings))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def random_beacon(model: Any, config: BeaconConfig = CONFIG, std: float = 0.3) -> Beacon:
    """A beacon unlike the base projections."""
    torch.manual_seed(11)
    beacon = Beacon.like(config, model)
    for parameter in beacon.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return beacon.requires_grad_(False)


def random_ids(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (count,), generator=generator).tolist()

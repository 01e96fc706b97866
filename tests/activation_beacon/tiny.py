"""Tiny random models of every supported architecture, with a random beacon, for laws that need no training."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from activation_beacon import Attached
from activation_beacon.config import BeaconConfig
from activation_beacon.memory import SequenceMemory
from activation_beacon.plugin import Beacon
from activation_beacon.rotary import position_tensor

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
VOCABULARY = 97
CONFIG = BeaconConfig(window=16, stride=16, ratios=(0, 2, 4, 8))
SCHEMES = [
    CONFIG,
    BeaconConfig(window=16, stride=16, ratios=(4,), sink_size=2),
    BeaconConfig(window=16, stride=16, ratios=(4,), attn="step-expansion", attend_prev=False),
    BeaconConfig(window=16, stride=16, ratios=(4,), pos="append", attn="full-coverage"),
    BeaconConfig(window=16, stride=8, ratios=(4,), pos="append", attn="step-expansion"),
    BeaconConfig(window=16, stride=16, ratios=(4,), pos="append", attn="segmentation"),
    BeaconConfig(window=16, stride=16, ratios=(4,), pos="append", param=("q", "k", "v", "o")),
]


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


@torch.inference_mode()
def full_attention(attached: Attached, passes: Iterable[Sequence[int]]) -> torch.Tensor:
    """(tokens, hidden) last hidden states of a text that the model alone reads, in these passes."""
    memory, found = SequenceMemory(attached.layers, attached.rotary), []
    for ids in passes:
        positions = range(memory.size, memory.size + len(ids))
        where = position_tensor(positions, attached.device)
        found.append(attached.run(torch.tensor([list(ids)]), where, memory)[0])
        memory.commit(positions)
    return torch.cat(found)

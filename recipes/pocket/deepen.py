"""More layers for a trained model, without changing what it computes.

A beacon's keys and values of layer n hold what n layers have gathered at its row, and what a question finds in them has
the layers behind n to be put into words: a few layers more are worth much to the memory.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from transformers import LlamaForCausalLM

from activation_beacon.plugin import Beacon


@torch.no_grad()
def deepen(model: LlamaForCausalLM, beacon: Beacon, layers: Sequence[int]) -> None:
    """Puts a copy of each of these layers behind it, of the model and of its beacon; copies add nothing yet."""
    for index in sorted(layers, reverse=True):
        double = copy.deepcopy(model.model.layers[index])
        # Both outputs at zero, both inputs trained: the first step moves the outputs, the next ones everything.
        nn.init.zeros_(double.self_attn.o_proj.weight)
        nn.init.zeros_(double.mlp.down_proj.weight)
        model.model.layers.insert(index + 1, double)
        beacon.layers.insert(index + 1, copy.deepcopy(beacon.layers[index]))
    for index, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = index
    model.config.num_hidden_layers = len(model.model.layers)

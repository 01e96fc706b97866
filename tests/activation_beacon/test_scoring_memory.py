"""What selecting takes beside the model: in the shapes of a 7B model, on the device "meta", which computes nothing."""

import weakref
from collections import Counter
from typing import Any

import bitsandbytes as bnb
import torch
from bitsandbytes.functional import QuantState
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from activation_beacon import Activations, Selection, attach
from tests.activation_beacon.tiny import tiny_model

SEVEN = {
    "hidden_size": 3584, "intermediate_size": 18_944, "num_attention_heads": 28, "num_key_value_heads": 4,
    "head_dim": 128, "max_position_embeddings": 32_768,
}  # fmt: skip
INTERVAL, MEMORY, ASKED = 2048, 16_000, 20
# Of 8 GiB, in which 128K tokens are to be condensed, what the weights (4) and the memory of all 28 layers (2) leave.
BUDGET = 2 * 2**30


class Peak(TorchDispatchMode):
    """The most bytes that tensors made in it held at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.most = 0
        self._uses: Counter[int] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {
            each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)
        }
        made = op(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._uses and key in before:
                continue  # a view of what was there
            if not self._uses[key]:
                self.bytes += size
            self._uses[key] += 1
            weakref.finalize(tensor, self._gone, key, size)
        self.most = max(self.most, self.bytes)
        return made

    def _gone(self, key: int, size: int) -> None:
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]
            self.bytes -= size


def test_scoring_makes_no_attention_matrix() -> None:
    with torch.device("meta"):
        model = tiny_model("qwen2", **SEVEN).to(torch.bfloat16)
    with torch.inference_mode(), attach(model, None) as attached:
        reader = attached.selecting_reader(8, Selection(INTERVAL + 1, 4, tuple(range(ASKED))))
        rows = torch.empty(2, 4, MEMORY, 128, dtype=torch.bfloat16, device="meta")
        reader.memory.append(Activations(rows, rows))
        for _ in reader.feed([1] * INTERVAL):
            pass
        with Peak() as peak:
            scores = reader.memory.scores(4, lambda: reader._run([1] * (ASKED + INTERVAL), MEMORY + INTERVAL))
    assert scores.shape == (2, 4, INTERVAL - 4)
    asking = ASKED + INTERVAL
    # What the heads that share a key would draw from everything; all of them are four times that, in each layer.
    matrix = 28 // 4 * asking * (MEMORY + INTERVAL + asking) * 4
    print(f"{peak.most / 2**20:.0f} MiB, of {matrix / 2**20:.0f}")
    assert asking * 18_944 * 2 < peak.most < matrix / 2


def four_bit(linear: nn.Linear) -> nn.Module:
    """The same, in NF4 with double quantization."""

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    blocks = linear.weight.numel() // 64
    scales = QuantState(absmax=empty(-(-blocks // 256)), blocksize=256, code=empty(256), dtype=torch.float32)
    state = QuantState(
        absmax=empty(blocks, dtype=torch.uint8), shape=linear.weight.shape, blocksize=64, code=empty(16),
        quant_type="nf4", dtype=torch.bfloat16, offset=empty(), state2=scales,
    )  # fmt: skip
    made = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        linear.bias is not None,
        torch.bfloat16,
        quant_type="nf4",
        device="meta",
    )
    packed = empty(blocks * 32, 1, dtype=torch.uint8)
    made.weight = bnb.nn.Params4bit(packed, requires_grad=False, quant_state=state, bnb_quantized=True)
    made.bias = linear.bias
    return made


def test_an_interval_is_condensed_on_four_bit_weights_within_its_budget() -> None:
    """No more than one projection of it is there in 16 bits at a time."""
    with torch.device("meta"):
        model = tiny_model("qwen2", **SEVEN).to(torch.bfloat16)
    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name, child in list(block.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(block, name, four_bit(child))
    with torch.inference_mode(), attach(model, None) as attached:
        reader = attached.selecting_reader(8, Selection(INTERVAL + 1, 4, tuple(range(ASKED))))
        rows = torch.empty(2, 4, MEMORY, 128, dtype=torch.bfloat16, device="meta")
        reader.memory.append(Activations(rows, rows))
        with Peak() as peak:
            reader.remember([1] * INTERVAL)
            reader.memory.scores(4, lambda: reader._run([1] * (ASKED + INTERVAL), MEMORY + INTERVAL))
    largest = 3584 * 18_944 * 2
    print(f"{peak.most / 2**20:.0f} MiB, the largest projection of it {largest / 2**20:.0f}")
    assert largest < peak.most < BUDGET

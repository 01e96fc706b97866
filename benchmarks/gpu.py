"""Condensing and decoding on one CUDA device: SmolLM2-135M's shapes in bfloat16, a 7B model's in NF4, random weights.

    python benchmarks/gpu.py

prints tokens condensed a second and the share of the rate of a bare product that this is; milliseconds a decoded token,
kernel by kernel and from a graph, and how much of that reading the weights alone would take; and peak memory. Without a
CUDA device it says so.
"""

import sys
import time
from dataclasses import dataclass

import bitsandbytes as bnb
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from activation_beacon import Attached, Beacon, BeaconConfig, attach

SHAPES = {
    "SmolLM2-135M": LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=49_152, max_position_embeddings=8192,
    ),
    "7B, NF4": LlamaConfig(
        hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=32_000, max_position_embeddings=32_768,
    ),
}  # fmt: skip
# Shape, window, tokens, ratio.
RUNS = (
    ("SmolLM2-135M", 512, 32_768, 8),
    ("SmolLM2-135M", 2048, 32_768, 8),
    ("7B, NF4", 2048, 32_768, 8),
    ("7B, NF4", 2048, 131_072, 16),
)
DECODED = 64
GIB = 2**30


def seconds(began: float) -> float:
    """Since then, all that was asked of the device being done."""
    torch.cuda.synchronize()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Device:
    """What it can do at most.

    Attributes:
        products: multiplications and additions a second, of 2,048 rows by the 7B model's largest projection.
        reading: bytes a second, of those that a copy reads and writes.
    """

    products: float
    reading: float


def measured() -> Device:
    """This device."""
    rows = torch.randn(2048, 4096, device="cuda", dtype=torch.bfloat16)
    weights = [torch.randn(14_336, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(4)]
    source = torch.empty(GIB, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    products = copies = 0.0
    for _ in range(2):  # the first time warms up
        began = time.perf_counter()
        for index in range(40):
            rows @ weights[index % 4].T
        products = seconds(began)
        began = time.perf_counter()
        for _ in range(20):
            target.copy_(source)
        copies = seconds(began)
    return Device(40 * 2 * 2048 * 4096 * 14_336 / products, 20 * 2 * GIB / copies)


def built(shape: str, window: int, ratio: int) -> tuple[LlamaForCausalLM, Beacon]:
    """A random model on the device, its layers in four bits if it is called so, and a beacon like it."""
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(SHAPES[shape]).eval()
    torch.set_default_dtype(torch.float32)
    beacon = Beacon.like(BeaconConfig(window=window, stride=window, ratios=(ratio,)), model)
    beacon.copy_base(model, token=1)
    if shape.endswith("NF4"):
        for layer in model.model.layers:
            for owner in (layer.self_attn, layer.mlp):
                for name, linear in list(owner.named_children()):
                    if isinstance(linear, nn.Linear):
                        setattr(owner, name, four_bits(linear))
        torch.cuda.empty_cache()
    return model.requires_grad_(False), beacon.to("cuda", torch.bfloat16)


def four_bits(linear: nn.Linear) -> nn.Module:
    """The same in NF4, its scales quantized too."""
    made: nn.Module = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
    )
    made.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    return made.to("cuda")


def decoding(attached: Attached, ids: list[int], ratio: int, *, static: bool) -> tuple[float, float, float]:
    """Seconds to condense, seconds a decoded token after it, and bytes at most while it was read and decoded."""
    condensing = 0.0
    for _ in range(2):  # the first time warms up
        torch.cuda.reset_peak_memory_stats()
        reader, began = attached.reader(ratio, static=static), time.perf_counter()
        reader.read(ids)
        condensing = seconds(began)
    for _ in range(4):  # which captures the graph
        reader.read([5])
    began = time.perf_counter()
    for _ in range(DECODED):
        int(reader.read([5]).argmax())
    return condensing, seconds(began) / DECODED, torch.cuda.max_memory_allocated()


@torch.inference_mode()
def run(shape: str, window: int, tokens: int, ratio: int, device: Device) -> str:
    """A row of the table."""
    model, beacon = built(shape, window, ratio)
    ids = torch.randint(3, 30_000, (tokens,)).tolist()
    with attach(model, beacon) as attached:
        condensing, by_kernel, peak = decoding(attached, ids, ratio, static=False)
        _, from_graph, _ = decoding(attached, ids, ratio, static=True)
    # Four bits are half a byte; what is read of the embedding is one row.
    layers = sum(each.numel() * each.element_size() for each in model.model.layers.parameters())
    head = model.lm_head.weight.numel() * model.lm_head.weight.element_size()
    config = SHAPES[shape]
    shares = config.hidden_size * (config.hidden_size // config.num_attention_heads)
    of_layer = 2 * shares * (config.num_attention_heads + config.num_key_value_heads)
    of_layer += 3 * config.hidden_size * config.intermediate_size
    rate = tokens / condensing * 2 * config.num_hidden_layers * of_layer * (1 + 1 / ratio)
    limit = (layers + head) / device.reading
    cells = (
        shape, window, f"{tokens:,}", ratio, f"{tokens / condensing:,.0f}", f"{rate / device.products:.0%}",
        f"{1000 * by_kernel:.1f}", f"{1000 * from_graph:.1f}", f"{limit / from_graph:.0%}", f"{peak / GIB:.1f}",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("no CUDA device")
    device = measured()
    print(
        f"{torch.cuda.get_device_name()} · bare product {device.products / 1e12:,.0f} TFLOP/s · "
        f"copying {device.reading / 1e9:,.0f} GB/s\n"
    )
    titles = (
        "model", "window", "tokens", "ratio", "condensing, tokens/s", "of the bare product", "decoding by kernels, ms",
        "from a graph, ms", "of which weights alone", "peak, GiB",
    )  # fmt: skip
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for each in RUNS:
        print(run(*each, device), flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()

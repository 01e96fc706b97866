"""Condensing and decoding on one CUDA device: SmolLM2-135M's shapes and a 7B model's, random weights, bfloat16.

    python benchmarks/gpu.py

prints tokens condensed a second, milliseconds a decoded token and peak memory, beside the rate of a bare product of the
7B model's largest projection. Without a CUDA device it says so.
"""

import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from activation_beacon import Beacon, BeaconConfig, attach

SHAPES = {
    "SmolLM2-135M": LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=49_152, max_position_embeddings=8192,
    ),
    "7B": LlamaConfig(
        hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=32_000, max_position_embeddings=32_768,
    ),
}  # fmt: skip
# Shape, window, tokens, ratio.
RUNS = (
    ("SmolLM2-135M", 512, 32_768, 8),
    ("SmolLM2-135M", 2048, 32_768, 8),
    ("7B", 2048, 32_768, 8),
    ("7B", 2048, 131_072, 16),
)
DECODED = 64


def seconds(began: float) -> float:
    """Since then, all that was asked of the device being done."""
    torch.cuda.synchronize()
    return time.perf_counter() - began


def run(model: LlamaForCausalLM, window: int, tokens: int, ratio: int) -> tuple[float, float, float]:
    """Tokens condensed a second, milliseconds a decoded token, GiB at most."""
    beacon = Beacon.like(BeaconConfig(window=window, stride=window, ratios=(ratio,)), model)
    beacon.copy_base(model, token=1)
    beacon = beacon.to("cuda", torch.bfloat16)
    ids = torch.randint(3, 30_000, (tokens,)).tolist()
    with torch.inference_mode(), attach(model, beacon) as attached:
        for _ in range(2):  # the first time warms up
            torch.cuda.reset_peak_memory_stats()
            reader, began = attached.reader(ratio), time.perf_counter()
            reader.read(ids)
            condensing = seconds(began)
        began = time.perf_counter()
        for _ in range(DECODED):
            int(reader.read([5]).argmax())
        decoding = seconds(began) / DECODED
    return tokens / condensing, 1000 * decoding, torch.cuda.max_memory_allocated() / 2**30


def product_rate() -> float:
    """TFLOP/s of 2,048 rows by the 7B model's largest projection."""
    rows = torch.randn(2048, 4096, device="cuda", dtype=torch.bfloat16)
    weights = [torch.randn(14_336, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(4)]
    for _ in range(2):
        began = time.perf_counter()
        for index in range(40):
            rows @ weights[index % 4].T
        took = seconds(began)
    return 40 * 2 * 2048 * 4096 * 14_336 / took / 1e12


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("no CUDA device")
    print(torch.cuda.get_device_name(), "· bare product", round(product_rate()), "TFLOP/s\n")
    print("| model | window | tokens | ratio | condensing, tokens/s | decoding, ms a token | peak, GiB |")
    print("|---|---|---|---|---|---|---|")
    built, model = "", None
    for name, window, tokens, ratio in RUNS:
        if name != built or model is None:
            built, model = name, None
            torch.set_default_dtype(torch.bfloat16)
            with torch.device("cuda"):
                model = LlamaForCausalLM(SHAPES[name]).eval()
            torch.set_default_dtype(torch.float32)
        speed, decoding, peak = run(model, window, tokens, ratio)
        print(f"| {name} | {window} | {tokens:,} | {ratio} | {speed:,.0f} | {decoding:.0f} | {peak:.1f} |", flush=True)


if __name__ == "__main__":
    main()

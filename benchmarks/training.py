"""Training on one text: all intervals in one pass, against one interval at a time as the reference loops.

    python -m benchmarks.training [--model MODEL] [--tokens N] [--ratio N] [--device auto|cpu|cuda]

Forward and backward pass of the same text in one run, the ways taking turns; the median of five. "Kept" is what the
forward pass keeps for the backward pass, beside the condensed memory. `beacon train` takes the third way, and the last
one for texts that are too long for that.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from activation_beacon import Attached, attach
from activation_beacon.checkpoint import load_beacon
from activation_beacon.memory import Activations, joined
from activation_beacon.objectives import token_losses
from activation_beacon.planner import Pass
from activation_beacon.ratios import Fixed
from activation_beacon.training import IGNORED, text_loss, training_labels, training_passes
from beacon_cli.checkpoints.engine import load_base
from beacon_cli.checkpoints.model_source import locate_model

ROUNDS = 5


def looped(one: Attached, ids: torch.Tensor, labels: torch.Tensor, plans: list[Pass]) -> torch.Tensor:
    """Interval by interval, keeping everything (stride == window)."""
    memory: list[Activations] = []
    total, start = torch.zeros((), device=ids.device), 0
    for plan in plans:
        prefix = None
        if memory:
            prefix = joined(memory)
        part = slice(start, start + plan.tokens)
        done = one.read_in_one_pass([plan], ids[None, part], prefix)
        memory.append(Activations(done.keys[0], done.values[0]))
        own = labels[part]
        total = total + token_losses(one, done.hidden[0, own != IGNORED], own[own != IGNORED])[0]
        start += plan.tokens
    return total / (labels != IGNORED).sum()


def measure(forward: Callable[[], torch.Tensor], device: torch.device) -> tuple[float, int]:
    """Seconds of forward and backward pass, and bytes kept in between."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    began = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, sum(kept.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--ratio", type=int, default=8)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        source = locate_model(options.model, None, Path(cache), condense="beacon")
    assert source.beacon_folder is not None, "what condenses is a beacon"
    base = load_base(source, options.device)
    beacon = load_beacon(source.beacon_folder, base.model, dtype=torch.float32, device=base.device).requires_grad_(True)
    one = attach(base.model, beacon)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(100, 30_000, (options.tokens,), generator=generator)
    ids = ids.to(base.device)
    labels = training_labels(ids, beacon.config)
    plans = training_passes(options.tokens, beacon.config, Fixed(options.ratio))
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "interval by interval": lambda: looped(one, ids, labels, plans),
        "one pass": lambda: text_loss(one, ids, labels, plans).total,
        "one pass, layers computed again": lambda: text_loss(one, ids, labels, plans, checkpoint_layers=True).total,
        "interval by interval, computed again": lambda: text_loss(one, ids, labels, plans, intervals=1).total,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    kept: dict[str, int] = {}
    for turn in range(ROUNDS + 1):
        for name, forward in ways.items():
            spent, kept[name] = measure(forward, base.device)
            if turn:  # the first warms up
                seconds[name].append(spent)
    first, *_ = ways
    print(f"{source.name}, {options.tokens:,} tokens in {len(plans)} intervals, ratio {options.ratio}")
    print("| way | tokens/s | ratio | kept |")
    print("|---|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(seconds[first]) / statistics.median(times)
        speed = options.tokens / statistics.median(times)
        print(f"| {name} | {speed:,.0f} | {ratio:.2f} | {kept[name] / 1e6:,.1f} MB |")


if __name__ == "__main__":
    main()

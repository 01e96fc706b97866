"""Condensing, and decoding after it, against the authors' code and against the bare matrix products.

    python -m benchmarks.condensing CHECKOUT PYTHON [--tokens 8192 32768] [--rounds 3] [--threads 2]

CHECKOUT is the folder `activation_beacon` of the authors' repository, which has `src` in it; PYTHON runs in an
environment with transformers 4.43, accelerate and the same torch. A random Llama of 8 layers, 256 wide, window 512,
ratio 8, in float32; a process each, which take turns. What is decoded must be the same, but with weights of 8 bits.
Times are medians, of processor time with one thread, of wall time with more.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.processor import ask, processor

SETTINGS: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "vocab_size": 2048,
    "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": False, "attention_bias": False,
    "torch_dtype": "float32",
    "beacon_window": 512, "beacon_stride": 512, "beacon_ratio": [8], "beacon_ratio_mix": "step-random",
    "beacon_attn": "full-coverage", "beacon_attend_prev": True, "beacon_pos": "interleave", "beacon_sink_size": 0,
    "beacon_param": ["q", "k", "v"],
}  # fmt: skip
WORKER = Path(__file__).with_name("condensing_worker.py")
WAYS = {
    "ours": "this tool",
    "eight": "… a row's products with weights of 8 bits, as the tool decodes",
    "authors": "the authors' code",
    "last": "… with logits of the last token only",
    "products": "bare products, as this tool makes them",
}
# Of the weights: large enough that what is said depends on what was read.
SPREAD = 0.08


def random_checkpoint(folder: Path) -> None:
    """A model of `SETTINGS` with a beacon, as the authors store theirs."""
    torch.manual_seed(0)
    hidden, inner, vocabulary = (SETTINGS[name] for name in ("hidden_size", "intermediate_size", "vocab_size"))
    keys = SETTINGS["num_key_value_heads"] * SETTINGS["head_dim"]
    out = {"q": hidden, "k": keys, "v": keys}
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.weight": (vocabulary, hidden)}
    shapes["model.beacon_embed_tokens.weight"] = (1, hidden)
    norms = ["model.norm.weight"]
    for number in range(SETTINGS["num_hidden_layers"]):
        layer = f"model.layers.{number}."
        for name, size in out.items():
            shapes |= {f"{layer}self_attn.{kind}{name}_proj.weight": (size, hidden) for kind in ("", "beacon_")}
        shapes[f"{layer}self_attn.o_proj.weight"] = (hidden, hidden)
        shapes |= {f"{layer}mlp.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")}
        shapes[f"{layer}mlp.down_proj.weight"] = (hidden, inner)
        norms += [f"{layer}{name}_layernorm.weight" for name in ("input", "post_attention")]
    state = {name: SPREAD * torch.randn(shape) for name, shape in shapes.items()}
    state |= {name: torch.ones(hidden) for name in norms}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(SETTINGS))


def start(way: str, folder: Path, options: argparse.Namespace) -> "subprocess.Popen[str]":
    """A worker that is ready."""
    theirs = way in ("authors", "last")
    command = [str(options.python) if theirs else sys.executable, str(WORKER), way, str(folder), str(options.threads)]
    worker = subprocess.Popen(
        command + ([str(options.checkout.resolve())] if theirs else []),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    ask(worker, "")  # it is ready
    return worker


def measure(options: argparse.Namespace, folder: Path) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """What every way took for every length, round by round."""
    workers = {way: start(way, folder, options) for way in WAYS}
    found: dict[str, dict[int, list[dict[str, Any]]]] = {way: {n: [] for n in options.tokens} for way in WAYS}
    for _ in range(options.rounds):
        for tokens in options.tokens:
            for way, worker in workers.items():
                found[way][tokens].append(json.loads(ask(worker, f"{tokens}\n")))
            said = {tuple(found[way][tokens][-1]["given"]) for way in WAYS if way not in ("eight", "products")}
            if len(said) > 1:
                raise SystemExit(f"after {tokens} tokens they do not decode the same")
    for worker in workers.values():
        worker.communicate()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("python", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192, 32768])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(f"{processor()}, {options.threads} threads\n")
    with tempfile.TemporaryDirectory() as folder:
        random_checkpoint(Path(folder))
        found = measure(options, Path(folder))
    lengths = " / ".join(f"{tokens:,}" for tokens in options.tokens)
    print(f"| | condensing {lengths} tokens, tokens/s | times this tool's time | decoding after it, ms | peak |")
    print("|---|---|---|---|---|")

    def median(way: str, tokens: int, what: str) -> float:
        return float(statistics.median(each[what] for each in found[way][tokens]))

    for way, name in WAYS.items():
        seconds = [median(way, tokens, "condensing") for tokens in options.tokens]
        own = [median("ours", tokens, "condensing") for tokens in options.tokens]
        speed = " / ".join(f"{n / each:,.0f}" for n, each in zip(options.tokens, seconds, strict=True))
        ratio = " / ".join(f"{each / mine:.2f}" for each, mine in zip(seconds, own, strict=True))
        decoding, peak = "", ""
        if way != "products":
            decoding = " / ".join(f"{1000 * median(way, tokens, 'decoding'):.1f}" for tokens in options.tokens)
            peak = f"{max(each['peak'] for runs in found[way].values() for each in runs) / 1e6:,.0f} MB"
        print(f"| {name} | {speed} | {ratio} | {decoding} | {peak} |")


if __name__ == "__main__":
    main()

"""Peak memory and seconds of converting and loading a checkpoint of Qwen2-7B's shapes.

    python benchmarks/loading.py [FOLDER]

The checkpoint is random, 16 GB in four shards as on the hub; with what it is converted to it takes 23 GB below FOLDER
(by default the temporary folder), and is removed at the end. Each step runs in a process of its own; its peak is the
kernel's (resident set, mapped files included). Loading is as for CUDA: weights stay in 4 bits and nothing is float32.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon
from beacon_cli.checkpoints.convert.tensor_files import NewTensor, write_tensors
from beacon_cli.checkpoints.gguf.tokenizer import write_tokenizer
from beacon_cli.checkpoints.obtain import open_default

SETTINGS = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "beacon_window": 2048,
    "beacon_stride": 2048,
    "beacon_ratio": [2, 4, 8, 16, 32],
    "beacon_param": ["q", "k", "v"],
    "beacon_pos": "interleave",
}
SHARD_BYTES = 5 * 10**9
IMPORT = "import beacon_cli.checkpoints.engine, beacon_cli.checkpoints.convert.conversion"
CONVERT = """
from beacon_cli.app import main
try:
    main()
except SystemExit as stop:
    if stop.code:
        raise
"""
LOAD = """
import torch
from pathlib import Path
from beacon_cli.checkpoints.adapter import load_adapter
from beacon_cli.checkpoints.engine import load_four_bit
from beacon_cli.checkpoints.model_source import locate_model
folder, place = sys.argv[1], torch.device("cpu")
source = locate_model(folder, None, Path(folder).parent / "cache")
model = load_four_bit(source, place, torch.bfloat16)
bits, kind = source.beacon_bits, torch.bfloat16
beacon = load_adapter(source.beacon_folder, model, bits=bits, packed=True, dtype=kind, device=place)
"""


# On a CUDA device each weight is read once, on its way there; what is only mapped is not resident yet.
TOUCH = """
import itertools
for tensor in itertools.chain(model.parameters(), beacon.parameters()):
    tensor.view(torch.uint8).view(-1)[::4096].sum()
"""
# Not what `getrusage` says: that counts the process from which this one was started.
PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


def generate(folder: Path) -> None:
    """A merged checkpoint with random weights, and a tokenizer that is not its own."""
    folder.mkdir()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(Qwen2Config.from_dict(SETTINGS))
        beacon = Beacon.like(BeaconConfig(2048, 2048, (2, 4, 8, 16, 32)), model)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, tensor in beacon.state_dict().items():
        if name == "embedding":
            shapes["model.beacon_embed_tokens.weight"] = (1, *tensor.shape)
            continue
        _, layer, p, kind = name.split(".")
        shapes[f"model.layers.{layer}.self_attn.beacon_{p}_proj.{kind}"] = tuple(tensor.shape)

    def drawn(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02)

    shards: list[list[NewTensor]] = [[]]
    for name, shape in shapes.items():
        tensor = NewTensor(name, torch.bfloat16, shape, partial(drawn, shape))
        if sum(each.size for each in shards[-1]) + tensor.size > SHARD_BYTES:
            shards.append([])
        shards[-1].append(tensor)
    places: dict[str, str] = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_tensors(folder / name, tensors)
        places |= {tensor.name: name for tensor in tensors}
    index = {"metadata": {"total_size": sum(t.size for shard in shards for t in shard)}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(SETTINGS))
    base, _ = open_default()
    write_tokenizer(base.file, folder)


def measure(title: str, code: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Run Python code and print a row."""
    began = time.monotonic()
    program = f"import sys\n{code}\n{PEAK}"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        raise SystemExit(f"{title} failed: {done.stderr.decode()}")
    peak = int(done.stderr.split()[-1]) * 1024
    print(f"| {title} | {peak / 1e9:.2f} GB | {time.monotonic() - began:.0f} s |", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        root = Path(name)
        environment = {**os.environ, "BEACON_CACHE_DIR": str(root / "cache"), "BEACON_MODELS_DIR": str(root / "models")}
        generate(root / "merged")
        print("| step | peak | time |")
        print("|---|---|---|")
        measure("imports alone", IMPORT, [], environment)
        for bits in ("16", "4"):
            target = str(root / f"converted-{bits}")
            convert = ["models", "convert", str(root / "merged"), "--to", target, "--beacon-bits", bits, "--quiet"]
            measure(f"convert, beacon in {bits} bits", CONVERT, convert, environment)
            measure(f"load, beacon in {bits} bits", LOAD, [target], environment)
            measure("the same, and read every weight", LOAD + TOUCH, [target], environment)
            size = sum(path.stat().st_size for path in Path(target).rglob("*"))
            print(f"| size on disk, beacon in {bits} bits | {size / 1e9:.2f} GB | |", flush=True)
            shutil.rmtree(target)


if __name__ == "__main__":
    main()

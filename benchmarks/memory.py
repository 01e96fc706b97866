"""Peak memory: of condensing a long text by selection against a fifth of it, and of many small documents.

    python -m benchmarks.memory [--model MODEL | --random] [--tokens 1000000] [--documents 10000]

Each text is condensed in a process of its own, at ratio 8; the peak is the operating system's (resident set). The small
documents are condensed by one process, one after another; its resident set must stay as it is. `--random` takes the
default model's tokenizer, and a random model of two layers, 64 wide: the default takes an hour.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import beacon_cli as beacon
from beacon_cli.checkpoints.lean import outline
from beacon_cli.settings import DEFAULTS

SENTENCE = "The road went on between low walls, and nobody spoke for a while; a cart passed them near the mill. "
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
BUILD = """
import resource, sys
from beacon_cli.app import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""
PAGE = os.sysconf("SC_PAGE_SIZE")


def random_model(folder: Path) -> str:
    """A small one with the default model's tokenizer; where it is."""
    source = beacon.load().source.folder
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "beacon_model.json", "hashes.json"))
    settings = json.loads((source / "config.json").read_text())
    settings |= SMALL | {"num_key_value_heads": 1, "head_dim": 32}
    (folder / "config.json").write_text(json.dumps(settings))
    model = outline(settings)
    if model is None:
        raise SystemExit("the default model is none that this tool's decoder knows")
    torch.manual_seed(0)
    state = {
        name: 0.1 * torch.randn(each.shape) for name, each in model.state_dict().items() if name != "lm_head.weight"
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def build(text: str, model: str, folder: Path) -> tuple[int, int, int]:
    """(tokens, bytes of the condensed memory on disk, peak bytes of the process)."""
    document = folder / "document.txt"
    document.write_text(text, encoding="utf-8")
    arguments = ["cache", "build", str(document), "--model", model, "--ratio", "8", "--json", "--quiet"]
    environment = {**os.environ, "BEACON_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", BUILD, *arguments], env=environment, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    (built,) = json.loads(done.stdout)
    memory = sum(path.stat().st_size for path in Path(built["cache_path"]).glob("*.safetensors"))
    return built["tokens_read"], memory, int(done.stderr.split()[-1])


def long(model: str, folder: Path, most: int) -> None:
    """Print what a text of so many tokens and a fifth of it take."""
    tokenizer = beacon.load(model, cache_dir=folder).source.tokenizer
    each = len(tokenizer.encode(SENTENCE * 100)) / 100
    rows = [build(SENTENCE * int(part / each), model, folder) for part in (most / 5, most)]
    print("| tokens | condensed memory on disk | peak |\n|---|---|---|")
    for tokens, memory, peak in rows:
        print(f"| {tokens:,} | {memory / 1e6:.0f} MB | {peak / 1e6:.0f} MB |")
    print(f"ratio of the peaks: {rows[1][2] / rows[0][2]:.2f}\n", flush=True)


def resident() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def many(name: str, folder: Path, documents: int) -> None:
    """Print the resident set, ten times, while many small documents are condensed."""
    model = beacon.load(name, cache_dir=folder / "many")
    print("| documents | resident |\n|---|---|")
    for number in range(1, documents + 1):
        path = folder / "small.txt"
        path.write_text(f"Letter {number}. " + SENTENCE * 10, encoding="utf-8")
        model.read(path)
        if number % max(1, documents // 10) == 0:
            print(f"| {number:,} | {resident() / 1e6:.0f} MB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULTS.model)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--documents", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "random") if options.random else options.model
        long(model, folder, options.tokens)
        many(model, folder, options.documents)


if __name__ == "__main__":
    main()

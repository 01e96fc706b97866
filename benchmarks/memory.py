"""Peak memory of condensing the longest text that a model can hold, against a fifth of it.

    python benchmarks/memory.py [MODEL]

Each build runs in a process of its own; the peak is the operating system's (resident set), less the condensed memory
itself (its rows, in float32, for all layers). The highest ratio is used for both.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import beacon_cli as beacon
from beacon_cli.condensing.ratio import most_tokens
from beacon_cli.settings import DEFAULTS

SENTENCE = "The road went on between low walls, and nobody spoke for a while; a cart passed them near the mill. "
BUILD = """
import resource, sys
from beacon_cli.app import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""


def build(text: str, model: str, ratio: int, folder: Path) -> tuple[int, int, int]:
    """(tokens, bytes of the condensed memory, peak bytes of the process)."""
    document = folder / "document.txt"
    document.write_text(text, encoding="utf-8")
    arguments = ["cache", "build", str(document), "--model", model, "--ratio", str(ratio), "--json", "--quiet"]
    environment = {**os.environ, "BEACON_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", BUILD, *arguments], env=environment, capture_output=True, check=True)
    (built,) = json.loads(done.stdout)
    memory = sum(path.stat().st_size for path in Path(built["cache_path"]).glob("*.safetensors"))
    return built["tokens_read"], memory, int(done.stderr.split()[-1])


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULTS.model
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = beacon.load(model, cache_dir=folder).source
        ratio = max(source.ratios)
        each = len(source.tokenizer.encode(SENTENCE * 100)) / 100
        longest = most_tokens(source, ratio, 0) * 0.95
        rows = [build(SENTENCE * int(part / each), model, ratio, folder) for part in (longest / 5, longest)]
    print("| tokens | condensed memory | peak | peak without it |")
    print("|---|---|---|---|")
    for tokens, memory, peak in rows:
        print(f"| {tokens:,} | {memory / 1e6:.0f} MB | {peak / 1e6:.0f} MB | {(peak - memory) / 1e6:.0f} MB |")
    (_, small, low), (_, large, high) = rows
    print(f"ratio of the last column: {(high - large) / (low - small):.2f}")


if __name__ == "__main__":
    main()

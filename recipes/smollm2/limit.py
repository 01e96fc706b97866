"""The probability of the refusal from which on the reader gives it, chosen on held-out articles.

    python -m recipes.smollm2.limit --data DATA

asks the questions of the `dev` articles and prints what is said without a limit, and with that at which `REFUSED` of
those without an answer are refused. (SQuAD 2.0's evaluation takes the limit at which most questions are dealt with
rightly: more than half of these have no answer, and half of the others would be refused, too.) `--reader` names another
reader than the default model's; `--write` puts the limit into `refusing.json` beside it, where the tool reads it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path

import torch

import beacon_smollm2
from beacon_cli.checkpoints.arithmetic import fast_arithmetic
from beacon_cli.checkpoints.local.model_folder import REFUSING
from recipes.smollm2 import base, sources
from recipes.smollm2.decoder import Decoder
from recipes.smollm2.further import PLANS, read
from recipes.smollm2.held_out import HeldOut, Told
from recipes.smollm2.rows import Layout
from recipes.smollm2.training import SIZES

# What is aimed at, 0.7, and one standard error of the share of 414 questions, as many as the two articles have.
REFUSED = 0.725


def main(words: list[str] | None = None) -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    parser.add_argument("--reader", type=Path, default=beacon_smollm2.FOLDER)
    parser.add_argument("--size", choices=sorted(PLANS), default="full")
    parser.add_argument("--write", action="store_true", help="put the limit beside the reader")
    options = parser.parse_args(words)
    if options.data is None and SIZES[options.size].real:
        parser.error("--data DIR, or BEACON_DATA, says where the data is")
    told = ask(options.reader, options.data, options.size)
    limit = rounded(told.limit_for(REFUSED))
    for tried in (None, limit):
        said = {name: round(figure, 1) for name, figure in told.figures(tried).items()}
        print(json.dumps({"limit": tried, "questions": len(told.doubt), **said}))
    if options.write:
        (options.reader / REFUSING).write_text(json.dumps({"refuses_from": limit}) + "\n", "utf-8")


def rounded(limit: float) -> float:
    """Down to two digits: those after them are of single questions."""
    return math.floor(100 * limit) / 100


def ask(reader: Path, data: Path | None, size: str) -> Told:
    """What a reader says to the questions of the `dev` articles."""
    real = SIZES[size].real
    model, tokenizer = base.load_base(base.gguf_file()) if real else base.tiny_base()
    passages = sources.load(Path(data or ""), "dev") if real else sources.made_up(0)
    device = "cuda" if real and torch.cuda.is_available() else "cpu"
    fast = torch.bfloat16 if device == "cuda" else fast_arithmetic().dtype
    decoder = Decoder(model, fast if real else torch.float32, device, compiled=real)
    held = HeldOut(Layout(tokenizer), passages["squad"], PLANS[size])
    return held.told(decoder, read(reader, decoder).to(device), device)


if __name__ == "__main__":
    main()

"""The reader, trained further on passages whose names and numbers are others, and averaged with what it was.

    python -m recipes.smollm2.further --data DATA --out DIR

goes on from the default model's reader (`--reader` names another) and leaves `reader.safetensors` and `reader.json` in
`--out`; killed at any moment, the same command goes on. It takes some 40 minutes on two processors with bfloat16, and
a C++ compiler. The rate of learning stays high, so that the weights go about; what is kept is the mean of those of
some steps, and of those before for a part. What came of it is in LOG.md; `mean.py` averages several runs.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import beacon_smollm2
from beacon_cli.checkpoints.arithmetic import fast_arithmetic
from beacon_cli.checkpoints.convert.lora import read_lora
from beacon_cli.checkpoints.local.model_folder import READER_CONFIG
from recipes.smollm2 import base, sources
from recipes.smollm2.batches import Plan, ReaderBatches, batches
from recipes.smollm2.conversations import Composer
from recipes.smollm2.decoder import PLACES, Decoder, Lora
from recipes.smollm2.held_out import HeldOut
from recipes.smollm2.learning import Training, reader_losses
from recipes.smollm2.rows import Layout
from recipes.smollm2.training import SIZES, save_reader

PLANS = {"full": Plan(200, 4, 2048, 5e-4, decay=0.05), "smoke": Plan(3, 1, 384, 1e-2, warmup=2)}
# After every so many steps of the second half, the weights are taken for the mean.
EVERY = {"full": 20, "smoke": 1}
# Of the passages.
ALTERED = 0.5
# Of what is learned here in what is kept; what is looked at beside it.
SHARE, SHARES = 0.75, (0.0, 0.25, 0.5, 0.75, 1.0)


def main(words: list[str] | None = None) -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    parser.add_argument("--reader", type=Path, default=beacon_smollm2.FOLDER)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=sorted(PLANS), default="full")
    parser.add_argument("--share", type=float, default=SHARE, help="of what is learned here in what is kept")
    parser.add_argument("--steps", type=int, help="if not the size's")
    parser.add_argument(
        "--ahead", type=float, default=0.0, help="share of conversations whose question stands before the text, too"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    if options.data is None and SIZES[options.size].real:
        parser.error("--data DIR, or BEACON_DATA, says where the data is")
    train(options)


def train(options: argparse.Namespace) -> None:
    """Train, look, average and write; what is there of an earlier run of the same command is gone on with."""
    base.keep_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    size, plan = SIZES[options.size], PLANS[options.size]
    plan = replace(plan, steps=options.steps or plan.steps)
    model, tokenizer = base.load_base(base.gguf_file()) if size.real else base.tiny_base()
    passages = {
        split: sources.load(options.data, split) if size.real else sources.made_up(0) for split in ("train", "dev")
    }
    layout, dtype = Layout(tokenizer), fast_arithmetic().dtype if size.real else torch.float32
    decoder = Decoder(model, dtype, "cpu", compiled=size.real)
    before, lora = read(options.reader, decoder), read(options.reader, decoder)
    training = Training("further", lora, plan, options.out)
    composer = Composer(passages["train"], replace(size.mix, altered=ALTERED, ahead=options.ahead))
    workers = 1 if size.real else 0
    rows = batches(ReaderBatches(composer, layout, plan, options.seed), workers, training.step, plan.steps)
    taken = range(plan.steps, plan.steps // 2, -EVERY[options.size])
    for step in training.run(reader_losses(decoder, lora, rows, "cpu")):
        if step in taken:
            save_file(lora.state_dict(), options.out / f"step-{step}.safetensors")
    after = mean([load_file(options.out / f"step-{step}.safetensors") for step in taken])
    for ahead in (False, True) if options.ahead else (False,):
        held = HeldOut(layout, passages["dev"]["squad"], plan, ahead)
        for share in SHARES:
            said = held.told(decoder, between(before, after, share), "cpu")
            training.log(ahead=ahead, share=share, **said.figures())
    made = json.loads((options.reader / READER_CONFIG).read_text("utf-8"))
    further = {"steps": training.step, "tokens": training.used, "share": options.share, "plan": asdict(plan)}
    save_reader(between(before, after, options.share), options.out, made | {"further": further})


def read(folder: Path, decoder: Decoder) -> Lora:
    """A reader, to be trained further."""
    found = read_lora(folder)
    rank = next(iter(found.parts.values()))[0].shape[0]
    lora = Lora(decoder.shapes(), decoder.layers, rank, found.scale * rank)
    with torch.no_grad():
        for name, place in PLACES.items():
            for number in range(decoder.layers):
                first, second = found.factors(f"model.layers.{number}.{place}.weight")
                lora.a[name][number] = first
                lora.b[name][number] = second / found.scale
    return lora


def mean(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Of some weights of one training."""
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def between(before: Lora, after: Mapping[str, Tensor], share: float) -> Lora:
    """The weights of before, and of those after a share."""
    made = copy.deepcopy(before)
    made.load_state_dict({name: torch.lerp(each, after[name], share) for name, each in before.state_dict().items()})
    return made


if __name__ == "__main__":
    main()

"""The reader, then the beacon: the one command of this recipe.

The beacon is trained on the base with the reader merged into it. Both are learned towards the answers; the beacon also
towards what the same model predicts, reading uncondensed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from activation_beacon import Beacon, BeaconConfig
from activation_beacon.checkpoint import save_beacon as write_beacon
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL
from beacon_cli.checkpoints.local.model_folder import READER, READER_CONFIG
from recipes.smollm2 import base, sources
from recipes.smollm2.batches import BeaconBatches, Plan, ReaderBatches, batches
from recipes.smollm2.conversations import Composer, Mix
from recipes.smollm2.decoder import PARAM, PLACES, Beacons, Decoder, Lora
from recipes.smollm2.held_out import HeldOut
from recipes.smollm2.learning import Training, beacon_losses, look_at_beacon, reader_losses
from recipes.smollm2.lessons import RATIOS, Room, Share, Teacher
from recipes.smollm2.rows import Layout
from recipes.smollm2.sources import Passage

ALPHA = 32.0
BOOK_CHARACTERS = 60_000
TINY_SHA256 = hashlib.sha256(b"tiny").hexdigest()


@dataclass(frozen=True)
class Size:
    """A size of the run.

    Attributes:
        real: the real model and data.
        rank: of the reader. With 10, it and the beacon stay under 40 MB.
        mix: what the reader learns from; `lessons`: weights of what the beacon does, with `share` and `room`.
        look: batches of what is held out that are looked at in the end.
    """

    real: bool
    reader: Plan
    beacon: Plan
    rank: int
    mix: Mix
    lessons: Mapping[str, float]
    share: Share
    room: Room
    look: int


SIZES: Mapping[str, Size] = {
    # What ships was made with.
    "full": Size(
        True,
        Plan(526, 8, 2048, 1.5e-3),
        Plan(1289, 16, Room().rows, 3e-4),
        10,
        Mix({
            "squad": 0.68, "factbook": 0.1, "fairytaleqa": 0.12, "quoref": 0.03, "adversarialqa": 0.05, "boolq": 0.02,
        }),
        {"squad": 0.55, "factbook": 0.18, "fairytaleqa": 0.2, "quoref": 0.03, "boolq": 0.04},
        Share(),
        Room(),
        2,
    ),
    "smoke": Size(
        False,
        Plan(6, 1, 384, 1.5e-2, warmup=2),
        Plan(4, 1, 544, 3e-4, warmup=2),
        4,
        Mix({"squad": 1.0}),
        {"squad": 1.0},
        Share(read=(16, 32), tail=8),
        Room(window=32, intervals=4, rows=544, asked=352, plain=512, memory=64),
        1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """What all of it needs: where and what of, the model as it comes, and passages by split and data set."""

    size: Size
    options: argparse.Namespace
    device: str
    model: Any
    layout: Layout
    passages: Mapping[str, Mapping[str, list[Passage]]]
    books: list[str]

    @property
    def out(self) -> Path:
        out: Path = self.options.out
        return out

    def decoder(self) -> Decoder:
        """The model as it now is, to be trained with."""
        cuda = self.device == "cuda"
        return Decoder(self.model, torch.bfloat16 if cuda else torch.float32, self.device, compiled=cuda)


def train(options: argparse.Namespace) -> None:
    """Make both; what is there of an earlier run of the same command is gone on with."""
    began = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    # One compiled version for each of: reader, uncondensed and condensed reading, with and without gradients.
    torch._dynamo.config.cache_size_limit = 64
    size = SIZES[options.size]
    if options.steps:
        reader, beacon = options.steps
        size = replace(size, reader=replace(size.reader, steps=reader), beacon=replace(size.beacon, steps=beacon))
    shares = {name: share for name in ("ahead", "altered") if (share := getattr(options, name)) is not None}
    size = replace(size, mix=replace(size.mix, **shares))
    model, tokenizer = base.load_base(base.gguf_file()) if size.real else base.tiny_base()
    passages, books = _data(size, options.data)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = _Run(size, options, device, model, Layout(tokenizer), passages, books)
    for train_one in (train_reader, train_beacon):
        train_one(run)
        peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
        print(
            json.dumps({"done": train_one.__name__, "seconds": time.monotonic() - began, "peak_GiB": peak}), flush=True
        )


def train_reader(run: _Run) -> None:
    """Train the reader, write it, and put it into the model as the tool does."""
    size, plan = run.size, run.size.reader
    decoder = run.decoder()
    lora = Lora(decoder.shapes(), decoder.layers, size.rank, ALPHA).to(run.device)
    training = Training("reader", lora, plan, run.out)
    data = ReaderBatches(Composer(run.passages["train"], size.mix), run.layout, plan, run.options.seed)
    source = batches(data, run.options.workers, training.step, plan.steps)
    for step in training.run(reader_losses(decoder, lora, source, run.device)):
        if step == plan.steps:
            for ahead in (False, True) if size.mix.ahead else (False,):
                held = HeldOut(run.layout, run.passages["dev"]["squad"], plan, ahead)
                training.log(ahead=ahead, **held.told(decoder, lora, run.device).figures())
    save_reader(lora, run.out, reader_config(size, training))
    base.merge_reader(run.model, run.out)


def train_beacon(run: _Run) -> None:
    """Train and write the beacon of a model whose reader is merged."""
    size, plan, share = run.size, run.size.beacon, run.size.share
    decoder, passages = run.decoder(), run.passages
    embedding = run.model.model.embed_tokens.weight[run.layout.end]
    beacons = Beacons({p: decoder.weights[p] for p in PARAM}, embedding).to(run.device)
    training = Training("beacon", beacons, plan, run.out)
    teacher = Teacher(run.layout, passages["train"], size.lessons, run.books, share, size.room)
    data = BeaconBatches(teacher, plan, run.options.seed)
    source = batches(data, run.options.workers, training.step, plan.steps)
    for step in training.run(beacon_losses(decoder, beacons, source, run.device)):
        if step == plan.steps:
            asked = replace(share, prose=0.0, spans=(0, 0), again=0.0)
            held = Teacher(run.layout, passages["dev"], size.lessons, [], asked, size.room)
            training.log(held=look_at_beacon(decoder, beacons, held, plan, size.look, run.device))
    save_beacon(beacons, run)


def save_reader(lora: Lora, out: Path, config: Mapping[str, Any]) -> None:
    """`reader.safetensors`, bfloat16, and `reader.json`, as `beacon_cli/checkpoints/convert/lora.py` reads them."""
    tensors = {
        f"model.layers.{number}.{place}.lora_{part}": weights[name][number].detach().bfloat16().cpu().contiguous()
        for part, weights in (("A", lora.a), ("B", lora.b))
        for name, place in PLACES.items()
        for number in range(len(weights[name]))
    }
    save_file(tensors, out / READER, {"format": "pt"})
    (out / READER_CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def reader_config(size: Size, training: Training) -> dict[str, Any]:
    """What `reader.json` says."""
    return {
        "rank": size.rank,
        "alpha": ALPHA,
        "target_modules": [place.rpartition(".")[2] for place in PLACES.values()],
        "base": base.GGUF if size.real else "tiny",
        "base_sha256": base.SHA256 if size.real else TINY_SHA256,
        "refusal": REFUSAL,
        "steps": training.step,
        "tokens": training.used,
        "plan": asdict(training.plan),
    }


def save_beacon(beacons: Beacons, run: _Run) -> None:
    """`beacon/`, bfloat16, as the tool reads it."""
    window = run.size.room.window
    beacon = Beacon.like(BeaconConfig(window=window, stride=window, ratios=RATIOS, param=PARAM), run.model)
    state = {f"layers.{n}.{p}.weight": each for p, weights in beacons.weights.items() for n, each in enumerate(weights)}
    beacon.load_state_dict(state | {"embedding": beacons.embedding})
    of = base.merged_fingerprint(run.out) if run.size.real else TINY_SHA256
    write_beacon(run.out / "beacon", beacon.bfloat16(), base_name=DEFAULT_MODEL, base_fingerprint=of)


def _data(size: Size, folder: Path | None) -> tuple[dict[str, dict[str, list[Passage]]], list[str]]:
    """Passages by split and data set, and books."""
    if not size.real:
        made = {split: sources.made_up(number) for number, split in enumerate(("train", "dev"))}
        return made, [f"{number} is a number.\n" * 9000 for number in range(3)]
    data = Path(folder or "")
    return {split: sources.load(data, split) for split in ("train", "dev")}, sources.books(data, BOOK_CHARACTERS)

"""Reader and beacon on one GPU, in minutes: `pack` what they learn from into one file, then `gpu`.

    python -m recipes.smollm2 pack --data DATA --out runs/pack.json.xz
    python -m recipes.smollm2 gpu --pack runs/pack.json.xz --out runs/gpu --minutes 2 6

The first minutes are the reader's, the others the beacon's, which is trained on the base with the reader merged into
it. Both are learned towards the answers; the beacon also towards what the same model predicts, reading uncondensed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from beacon_cli.answering.prompts import REFUSAL
from recipes.smollm2 import base, sources
from recipes.smollm2.batches import (
    BEACON,
    LESSONS,
    MIX,
    READER,
    SMOKE,
    BeaconBatches,
    Plan,
    ReaderBatches,
    batches,
    unpack,
)
from recipes.smollm2.conversations import Composer
from recipes.smollm2.decoder import PARAM, PLACES, Beacons, Decoder, Lora
from recipes.smollm2.learning import Training, beacon_losses, look_at_beacon, look_at_reader, reader_losses
from recipes.smollm2.lessons import Room, Share, Teacher
from recipes.smollm2.rows import Layout
from recipes.smollm2.sources import Passage

SMOKE_SHARE = Share(read=(16, 32), tail=8)
SMOKE_ROOM = Room(window=32, intervals=4, rows=544, asked=352, plain=512, memory=64)


def train(options: argparse.Namespace) -> None:
    """The command `gpu`."""
    began = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    # One compiled version for each of: reader, uncondensed and condensed reading, with and without gradients.
    torch._dynamo.config.cache_size_limit = 64
    smoke = options.size == "smoke"
    passages, books = _made_up() if smoke else unpack(options.pack)
    model, tokenizer = base.tiny_base() if options.tiny else base.load_base(options.base or base.gguf_file())
    layout = Layout(tokenizer)
    compiled = device == "cuda" and not options.eager
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    reader_plan, beacon_plan = READER, BEACON
    if options.minutes:
        reader_plan = replace(READER, seconds=60 * options.minutes[0])
        beacon_plan = replace(BEACON, seconds=60 * options.minutes[1])
    if smoke:
        reader_plan = replace(reader_plan, rows=1, tokens=512, seconds=0.1)
        beacon_plan = replace(beacon_plan, rows=1, seconds=0.1)
    print(json.dumps({"ready": round(time.monotonic() - began, 1), "device": device, "compiled": compiled}), flush=True)
    decoder = Decoder(model, dtype, device, compiled)
    lora = Lora(decoder.shapes(), decoder.layers, options.rank, 32.0).to(device)
    composer = Composer(passages["train"], SMOKE if smoke else MIX)
    held = ReaderBatches(Composer(passages["dev"], SMOKE if smoke else MIX), layout, reader_plan, 0)
    source = batches(ReaderBatches(composer, layout, reader_plan, options.seed), options.workers)
    training = Training("reader", lora, reader_plan, options.out)
    for step in training.run(reader_losses(decoder, lora, source, device)):
        if step == training.steps:
            training.log(step, **look_at_reader(decoder, lora, held, options.look, device))
    del source
    save_reader(lora, options, training)
    decoder, model = merged(model, lora, dtype, device, compiled)
    _say("reader", began)
    train_beacon(decoder, model, layout, passages, books, beacon_plan, options, device)
    _say("beacon", began)


def _say(what: str, began: float) -> None:
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    print(
        json.dumps({"done": what, "seconds": round(time.monotonic() - began, 1), "peak_GiB": round(peak, 1)}),
        flush=True,
    )


def train_beacon(
    decoder: Decoder,
    model: Any,
    layout: Layout,
    passages: Mapping[str, Mapping[str, list[Passage]]],
    books: list[str],
    plan: Plan,
    options: argparse.Namespace,
    device: str,
) -> None:
    """Train a beacon on a model whose reader is merged."""
    smoke = options.size == "smoke"
    weights, share, room = (SMOKE.sources, SMOKE_SHARE, SMOKE_ROOM) if smoke else (LESSONS, Share(), Room())
    teacher = Teacher(layout, passages["train"], weights, books, share, room)
    held = Teacher(layout, passages["dev"], weights, [], replace(share, prose=0.0, spans=(0, 0), again=0.0), room)
    beacons = Beacons({p: decoder.weights[p] for p in PARAM}, model.model.embed_tokens.weight[layout.end]).to(device)
    source = batches(BeaconBatches(teacher, plan, options.seed), options.workers)
    training = Training("beacon", beacons, plan, options.out)
    for step in training.run(beacon_losses(decoder, beacons, source, device)):
        if step % 200 == 0 or step == training.steps:
            save_beacon(beacons, options.out)
        if step == training.steps:
            training.log(step, held=look_at_beacon(decoder, beacons, held, plan, options.look, device))


def merged(model: Any, lora: Lora, dtype: torch.dtype, device: str, compiled: bool) -> tuple[Decoder, Any]:
    """The model with what the reader's file says in its weights, as the tool merges it: summed in float32."""
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers):
            for name, place in PLACES.items():
                a, b = (part[name][number].to(torch.bfloat16).float().cpu() for part in (lora.a, lora.b))
                weight = layer.get_submodule(place).weight
                weight.copy_(weight.float() + lora.scale * (b @ a))
    return Decoder(model, dtype, device, compiled), model


def save_reader(lora: Lora, options: argparse.Namespace, training: Training) -> None:
    """`reader.safetensors` and `reader.json`, as `reader.py` writes them."""
    tensors = {}
    for name, place in PLACES.items():
        for number in range(len(lora.a[name])):
            key = f"model.layers.{number}.{place}"
            tensors[f"{key}.lora_A"] = lora.a[name][number].detach().to(torch.bfloat16).cpu().contiguous()
            tensors[f"{key}.lora_B"] = lora.b[name][number].detach().to(torch.bfloat16).cpu().contiguous()
    save_file(tensors, options.out / "reader.safetensors", {"format": "pt"})
    config = {
        "rank": options.rank,
        "alpha": 32.0,
        "target_modules": [place.rpartition(".")[2] for place in PLACES.values()],
        "base": base.GGUF,
        "base_sha256": None if options.tiny else base.SHA256,
        "refusal": REFUSAL,
        "steps": training.steps,
        "tokens": training.used,
        "plan": asdict(training.plan),
    }
    (options.out / "reader.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def save_beacon(beacons: Beacons, out: Path, parts: int = 3) -> None:
    """The beacon's weights under the names of `activation_beacon.Beacon`, bfloat16, in files of some layers each."""
    layers = len(beacons.weights[PARAM[0]])
    for part in range(parts):
        tensors = {
            f"layers.{number}.{p}.weight": beacons.weights[p][number].detach().to(torch.bfloat16).cpu().contiguous()
            for p in PARAM
            for number in range(part * layers // parts, (part + 1) * layers // parts)
        }
        if part == 0:
            tensors["embedding"] = beacons.embedding.detach().to(torch.bfloat16).cpu()
        save_file(tensors, out / f"beacon-{part}.safetensors", {"format": "pt"})


def _made_up() -> tuple[dict[str, dict[str, list[Passage]]], list[str]]:
    found = {split: sources.made_up(number) for number, split in enumerate(("train", "dev"))}
    return found, [f"{number} is a number.\n" * 9000 for number in range(3)]

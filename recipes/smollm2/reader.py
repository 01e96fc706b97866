"""The reader's two sizes, and its commands: train, write what ships, measure."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from beacon_cli.answering.prompts import REFUSAL
from recipes.smollm2 import attention, base, evaluation, sources
from recipes.smollm2.adapter import TARGETS, adapter_tensors, add_adapter, load_adapter, merge_adapter
from recipes.smollm2.conversations import Composer, Mix
from recipes.smollm2.rows import Layout, Row, make_row
from recipes.smollm2.training import Schedule, Trainer, answer_loss

WEIGHTS, CONFIG = "reader.safetensors", "reader.json"


@dataclass(frozen=True)
class Size:
    """A size of the run.

    Attributes:
        real: the real model and data, and layers that are compiled.
        length: tokens a row.
        rank, alpha: of the adapter.
        watch: steps between two looks at the loss on held-out questions, and `ask` between two rounds of answering
            `questions` of each kind; `watched` rows are looked at.
    """

    real: bool
    schedule: Schedule
    length: int
    rank: int = 32
    alpha: float = 32.0
    watch: int = 100
    watched: int = 4
    ask: int = 400
    questions: int = 24
    mix: Mix = field(default_factory=lambda: Mix({"squad": 1.0}))


SIZES: Mapping[str, Size] = {
    "smoke": Size(False, Schedule(6, warmup=2), 1024, rank=4, watch=3, watched=1, ask=6, questions=2),
    "cpu": Size(
        True,
        Schedule(1000),
        2048,
        mix=Mix(
            {"squad": 0.7, "factbook": 0.1, "fairytaleqa": 0.1, "quoref": 0.03, "adversarialqa": 0.05, "boolq": 0.02}
        ),
    ),
}


def load_passages(size: Size, data: Path | None, split: str) -> Mapping[str, list[sources.Passage]]:
    """Of a split; of the smoke size, as many made-up ones."""
    if size.real:
        return sources.load(Path(data or ""), split)
    return sources.made_up({"train": 0, "dev": 1, "test": 2}[split])


def load_model(size: Size) -> tuple[Any, Any]:
    """Model and tokenizer of a size."""
    return base.load_base(base.gguf_file()) if size.real else base.tiny_base()


def train(options: argparse.Namespace) -> None:
    """The command `reader`."""
    size = SIZES[options.size]
    changed = {name: value for name in ("steps", "rate") if (value := getattr(options, name)) is not None}
    schedule = replace(size.schedule, **changed)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    base.keep_memory()
    model, tokenizer = load_model(size)
    layout = Layout(tokenizer)
    add_adapter(model, size.rank, size.alpha)
    model.set_attn_implementation(attention.NAME)
    if size.real:
        for layer in model.model.layers:
            layer.forward = torch.compile(layer.forward, dynamic=False)
    composer = Composer(load_passages(size, options.data, "train"), size.mix)
    dev = load_passages(size, options.data, "dev")
    watcher = Composer(dev, size.mix)

    def row(composer: Composer, seed: int, index: int) -> Row:
        return make_row(composer, layout, size.length, seed, index, model.dtype)

    trainer = Trainer(model, schedule, lambda index: row(composer, options.seed, index), options.out)
    watched = [row(watcher, 0, index) for index in range(size.watched)]
    asked = evaluation.sets(dev, size.questions)
    for step in trainer.run(options.until):
        if step % size.watch == 0:
            with torch.no_grad():
                loss = sum(answer_loss(model, row).item() for row in watched)
            trainer.log(dev_loss=loss / sum(len(row.targets) for row in watched))
        if step % size.ask == 0 and step < schedule.steps:
            write(trainer, size, options.out)
            plain = load_merged(size, options.out)
            for name, figures in evaluation.evaluate(plain, layout, asked):
                trainer.log(set=name, **figures)
            del plain
    if trainer.step == schedule.steps:
        write(trainer, size, options.out)
        plain = load_merged(size, options.out)
        found = evaluation.sets(load_passages(size, options.data, "test"), 200 if size.real else 2)
        results = {}
        for name, figures in evaluation.evaluate(plain, layout, found):
            results[name] = figures
            (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def write(trainer: Trainer, size: Size, out: Path) -> None:
    """What ships: the adapter in bfloat16, and what it belongs to."""
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in adapter_tensors(trainer.model).items()}
    save_file(tensors, out / WEIGHTS, {"format": "pt"})
    config = {
        "rank": size.rank,
        "alpha": size.alpha,
        "target_modules": list(TARGETS),
        "base": base.GGUF if size.real else None,
        "base_sha256": base.fingerprint(base.gguf_file()) if size.real else None,
        "refusal": REFUSAL,
        "steps": trainer.step,
        "tokens": trainer.tokens,
    }
    (out / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_merged(size: Size, folder: Path | None) -> Any:
    """The model with an adapter in its weights, for decoding; without a folder, as it comes."""
    model, _ = load_model(size)
    if folder is not None:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        add_adapter(model, config["rank"], config["alpha"])
        load_adapter(model, load_file(folder / WEIGHTS))
        merge_adapter(model)
    return model


def measure(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The command `evaluate`: (set, its scores)."""
    size = SIZES[options.size]
    torch.set_num_threads(options.threads)
    _, tokenizer = load_model(size)
    found = evaluation.sets(load_passages(size, options.data, options.split), options.questions)
    found = {name: cases for name, cases in found.items() if name in (options.sets or found)}
    yield from evaluation.evaluate(load_merged(size, options.reader), Layout(tokenizer), found, options.most)

"""Teach the pocket language model to read its own condensed memory, beacon and model together.

    python -m recipes.pocket.bring_up --data DATA --base runs/pocket/base/model --out runs/pocket/brought --minutes 90

A model of four layers has a handful of heads that copy. A beacon that has to work with them as they are holds almost
nothing (see the log); large models have layers and heads to spare and need no such stage. So here, once, the model's
weights are trained too, on texts of which all intervals but the last are condensed, and on raw ones lest it forget to
read those, some of either behind thousands of rows of other texts' memory; and a small model may get some more layers
first. Afterwards it is frozen, quantized, and the beacon trained on with `beacon train` like any other.

The schedule follows the clock. `--out` gets `model/`, `beacon/` and `metrics.jsonl`, and `state.pt` for `--resume`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from activation_beacon.checkpoint import save_beacon
from activation_beacon.plugin import Beacon
from recipes.pocket.blocks import Layout, Shape, check_scheme, lay_out, read
from recipes.pocket.clock import learning_rate, with_machine
from recipes.pocket.compose import Composer, Plan
from recipes.pocket.curriculum import CONFIG, STAGES, Lesson, condensed, lesson_at, name_of, raw
from recipes.pocket.deepen import deepen
from recipes.pocket.pretrain import POSITIONS

FILLER_SHARE, FILLER_WEIGHT = 0.1, 0.1
BANK = 48


def produce(queue: Any, fraction: Any, root: Path, base: Path, tokens: int, seed: int) -> None:
    """The extra process: puts (stage, lesson, ids, answer marks) on the queue for ever."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    composer = Composer(root, Tokenizer.from_file(str(base / "tokenizer.json")), seed)
    rng = random.Random(seed)
    while True:
        stage, number = lesson_at(fraction.value, rng)
        lesson = STAGES[stage][1][number][1]
        size = max(1, tokens // lesson.shape.tokens)
        queue.put((stage, number, *composer.batch(lesson.shape.tokens, size, lesson.plan)))


class Bank:
    """Memories of texts read before, not rotated, to stand in front of others."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.items: list[tuple[Tensor, Tensor]] = []

    def add(self, layout: Layout, shape: Shape, keys: Tensor, values: Tensor) -> None:
        used = layout.sees[-1, shape.prefix :].nonzero()[:, 0]
        text = self.rng.randrange(keys.shape[1])
        self.items.append((keys[:, text][:, :, used].clone(), values[:, text][:, :, used].clone()))
        self.items = self.items[-BANK:]

    def draw(self, rows: int) -> tuple[Tensor, Tensor]:
        """Exactly so many rows: (layers, heads, rows, head_dim)."""
        chosen: list[tuple[Tensor, Tensor]] = []
        while sum(keys.shape[2] for keys, _ in chosen) < rows:
            chosen.append(self.rng.choice(self.items))
        # Contiguous, as strides are part of what is compiled.
        keys, values = (torch.cat(parts, 2)[:, :, :rows].contiguous() for parts in zip(*chosen, strict=True))
        return keys, values


class Run:
    """The model, its beacon, and what a step needs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        self.rng = random.Random(options.seed)
        self.model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32)
        self.model.to(self.device)
        self.beacon = Beacon.like(CONFIG, self.model)
        self.beacon.copy_base(self.model, token=self.model.config.eos_token_id)
        if options.init:
            state = torch.load(options.init, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.beacon.load_state_dict(state["beacon"])
        deepen(self.model, self.beacon, options.deepen)
        self.beacon.to(self.device)
        check_scheme(self.beacon, self.model)
        self.parameters = [*self.model.parameters(), *self.beacon.parameters()]
        embedding = self.model.model.embed_tokens.weight
        matrices = [p for p in self.parameters if p.ndim == 2 and p is not embedding]
        others = [p for p in self.parameters if p.ndim < 2 or p is embedding]
        self.optimizers = (
            torch.optim.Muon(matrices, lr=options.peak, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=options.peak, betas=(0.9, 0.95), weight_decay=0.01, fused=True),
        )
        self.bank = Bank(self.rng)
        self.forward = read
        if options.compile:
            torch._dynamo.config.recompile_limit = 64
            self.forward = torch.compile(read, dynamic=False)

    def layout(self, shape: Shape, ratios: Sequence[int], offset: int) -> Layout:
        return Layout(*(part.to(self.device) for part in lay_out(shape, ratios, offset)))

    def hidden(self, lesson: Lesson, ids: Tensor, *, fixed: int | None = None) -> tuple[Tensor, Tensor]:
        """Last hidden states and all layers' outputs, ratios drawn or `fixed`; to the bank goes what is made for it."""
        shape = lesson.shape
        if shape.prefix and not self.bank.items:
            shape = replace(shape, prefix=0)
        count = shape.intervals - 1
        drawn = [fixed or self.rng.choices([*lesson.ratios], [*lesson.ratios.values()])[0] for _ in range(count)]
        room = POSITIONS - shape.prefix - shape.intervals * shape.rows
        offset = self.rng.randrange(room) if not shape.prefix and not count and fixed is None else 0
        layout = self.layout(shape, drawn, offset)
        prefix = self.bank.draw(shape.prefix) if shape.prefix else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            # Measuring is rare, and in shapes of its own, not worth compiling.
            hidden, outputs, keys, values = (self.forward if fixed is None else read)(
                self.model, self.beacon, ids.view(len(ids), shape.intervals, shape.window), layout, prefix
            )
        if count and fixed is None:
            self.bank.add(layout, shape, keys, values)
        return hidden, outputs

    @torch.no_grad()
    def uncondensed(self, ids: Tensor) -> Tensor:
        """What all layers put out where nothing is condensed and nothing stands in front."""
        whole = Shape(1, ids.shape[1], 0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            _, outputs, *_ = self.forward(self.model, self.beacon, ids[:, None], self.layout(whole, [], 0), None)
        return outputs

    def loss(self, lesson: Lesson, ids: Tensor, answer: Tensor) -> tuple[Tensor, float, float]:
        """Of all answer tokens and some of the rest; also the mean of either kind.

        Behind a memory, also how far all layers are from where they would be without: a token's next one says little
        about what a memory should have held, a few thousand numbers say much.
        """
        hidden, outputs = self.hidden(lesson, ids)
        target, marked = ids[:, 1:], answer[:, 1:]
        others = ~marked & (target != self.model.config.pad_token_id)
        chosen = marked | others & (torch.rand(target.shape, device=ids.device) < FILLER_SHARE)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            logits = self.model.lm_head(hidden[:, :-1][chosen])
        each = torch.nn.functional.cross_entropy(logits.float(), target[chosen], reduction="none")
        is_answer = marked[chosen]
        answers, rest = each[is_answer], each[~is_answer]
        loss = (answers.sum() + FILLER_WEIGHT * rest.sum()) / (len(answers) + FILLER_WEIGHT * len(rest))
        if lesson.ratios or lesson.shape.prefix:
            rows = chosen.nonzero(as_tuple=True)
            taught = self.uncondensed(ids)[:, *rows].float()  # (layers, chosen tokens, width)
            far = (outputs[:, *rows].float() - taught).square().sum((1, 2)) / taught.square().sum((1, 2))
            loss = loss + far.mean()
        return loss, float(answers.detach().mean()), float(rest.detach().mean())

    def step(self, lesson: Lesson, ids: Tensor, answer: Tensor, rate: float) -> tuple[float, float]:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        loss, answers, rest = self.loss(lesson, ids, answer)
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return answers, rest

    def tensors(self, ids: np.ndarray, answer: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(ids.astype(np.int64)).to(self.device), torch.from_numpy(answer).to(self.device)

    @torch.no_grad()
    def validate(self, ids: Tensor, answer: Tensor) -> dict[str, float]:
        """Share of the answers whose every token is the likeliest, by ratio, on texts of four intervals."""
        results = {}
        ends = answer & ~torch.nn.functional.pad(answer[:, 1:], (0, 1))
        for ratio in (0, *CONFIG.ratios):
            lesson = condensed(ids.shape[1] // CONFIG.window, {ratio: 1}) if ratio else raw(ids.shape[1])
            hidden, _ = self.hidden(lesson, ids, fixed=ratio)
            likeliest = self.model.lm_head(hidden[:, :-1].float()).argmax(-1)
            wrong = (likeliest != ids[:, 1:]) & answer[:, 1:]
            # Of an answer that ends at a token: how many of the text's wrong tokens lie in it.
            count = torch.nn.functional.pad(wrong.cumsum(1), (1, 0))
            spans = (answer & ~torch.nn.functional.pad(answer[:, :-1], (1, 0))).nonzero(), ends.nonzero()
            right = sum(
                int(count[row, end] == count[row, start - 1])
                for (row, start), (_, end) in zip(spans[0].tolist(), spans[1].tolist(), strict=True)
            )
            results[str(ratio)] = round(right / len(spans[1]), 3)
        return results

    def save(self, progress: dict[str, float]) -> None:
        """A usable model, a usable beacon and the state to resume from."""
        out: Path = self.options.out
        self.model.save_pretrained(out / "model")
        AutoTokenizer.from_pretrained(self.options.base).save_pretrained(out / "model")
        save_beacon(out / "beacon", self.beacon, base_name="beacon-pocket", base_fingerprint="")
        state: dict[str, Any] = {"model": self.model.state_dict(), "beacon": self.beacon.state_dict()}
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save(state | progress, out / "state.new")
        (out / "state.new").replace(out / "state.pt")

    def load(self) -> dict[str, float]:
        state = torch.load(self.options.out / "state.pt", weights_only=True, map_location=self.device)
        self.model.load_state_dict(state.pop("model"))
        self.beacon.load_state_dict(state.pop("beacon"))
        for optimizer, kept in zip(self.optimizers, state.pop("optimizers"), strict=True):
            optimizer.load_state_dict(kept)
        return dict(state)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder of the language model, not quantized")
    parser.add_argument("--init", type=Path, help="a state.pt of an earlier run to begin with, model and beacon")
    parser.add_argument("--deepen", type=int, nargs="*", default=[], help="layers to put a copy behind")
    parser.add_argument("--begin", type=float, default=0.0, help="share of the curriculum that --init has behind it")
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/brought"))
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--peak", type=float, default=1e-3)
    parser.add_argument("--tokens", type=int, default=8192, help="a step")
    parser.add_argument("--seed", type=int, default=5)
    return with_machine(parser).parse_args()


def write_line(out: Path, line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    run = Run(options)
    progress: dict[str, float] = {"seconds": 0.0, "step": 0, "tokens": 0}
    if options.resume:
        progress |= run.load()
    budget = options.minutes * 60
    tokenizer = Tokenizer.from_file(str(options.base / "tokenizer.json"))
    held_out = Composer(options.data, tokenizer, options.seed, held_out=True)
    test = held_out.batch(4 * CONFIG.window, 24, Plan(facts=(2, 8), generated=1.0, passages=0.0, summary=0.0))
    test_ids, test_answer = run.tensors(*test)

    context = mp.get_context("spawn")
    queue, fraction = context.Queue(12), context.Value("d", options.begin)
    seed = options.seed + int(progress["step"])
    source = context.Process(
        target=produce, args=(queue, fraction, options.data, options.base, options.tokens, seed), daemon=True
    )
    source.start()
    batch = queue.get()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    began = time.monotonic() - progress["seconds"]
    saved = logged = time.monotonic()
    before = progress["tokens"]
    losses: dict[str, list[float]] = {}
    filler: list[float] = []
    while progress["seconds"] < budget and not stopped:
        elapsed = progress["seconds"] / budget
        fraction.value = options.begin + (1 - options.begin) * elapsed
        stage, number, *arrays = batch
        lesson = STAGES[stage][1][number][1]
        ids, answer = run.tensors(*arrays)
        answers, rest = run.step(lesson, ids, answer, learning_rate(elapsed, options.peak))
        if not math.isfinite(answers):
            raise SystemExit(
                f"the loss is {answers} in step {progress['step'] + 1}; {options.out} has the last good state"
            )
        losses.setdefault(name_of(lesson), []).append(answers)
        filler.append(rest)
        now = time.monotonic()
        progress = {"seconds": now - began, "step": progress["step"] + 1, "tokens": progress["tokens"] + ids.numel()}
        ends = progress["seconds"] >= budget
        if ends or now - logged > 20:
            line = {
                **{name: round(value, 1) for name, value in progress.items()},
                "stage": stage,
                "tokens_per_second": round((progress["tokens"] - before) / (now - logged)),
                "answers": {name: round(float(np.mean(values)), 3) for name, values in sorted(losses.items())},
                "filler": round(float(np.mean(filler)), 3),
            }
            logged, before = now, progress["tokens"]
            losses.clear()
            filler.clear()
            if ends or now - saved > options.save_minutes * 60:
                run.save(progress)
                line["exact"] = run.validate(test_ids, test_answer)
                saved = logged = time.monotonic()
            write_line(options.out, line)
        batch = queue.get()
    source.terminate()
    if stopped:
        run.save(progress)
        raise SystemExit("stopped; --resume goes on")


if __name__ == "__main__":
    main()

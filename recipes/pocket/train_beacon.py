"""Train the pocket model's beacon with its 4-bit language model frozen (paper, section 3.3).

    python -m recipes.pocket.train_beacon --data DATA --base models/beacon_pocket/model --minutes 40

Every text is read with all its intervals in one pass; a condensing ratio is drawn anew for every interval, low ones
first. Beside the text itself, the same model reading it uncondensed is a teacher: the hidden states of every layer are
to become its own (`--distill`). Two things more differ from the paper, because the tool uses them: in half of the
batches the last intervals, where the questions stand, keep their raw activations (as when passages are read again), and
some batches begin behind the memory of other texts, thousands of rows long, so that a long document does not drown the
one place that matters.
The schedule follows the clock; `--out` gets a complete checkpoint and the state for `--resume` every few minutes.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
from transformers import AutoModelForCausalLM

from activation_beacon.checkpoint import save_beacon
from activation_beacon.config import BeaconConfig
from activation_beacon.memory import Activations
from activation_beacon.onepass import OnePass, read_in_one_pass
from activation_beacon.planner import Pass, Planner
from activation_beacon.plugin import Beacon, install
from activation_beacon.rotary import model_rotary
from beacon_cli.checkpoints.fingerprint import model_fingerprint
from recipes.pocket.pretrain import POSITIONS, STAGES, learning_rate, produce

CONFIG = BeaconConfig(window=128, stride=128, ratios=(2, 4, 8, 16, 32))
# Higher ratios lose names whatever is done; most of the lesson is in the lower ones.
RATIO_WEIGHTS = (3, 3, 3, 1, 1)
FIRST_RATIO_WEIGHTS = (3, 2, 0, 0, 0)
# How much the hidden states of the document's own tokens count beside those of the questions and answers behind it.
DOCUMENT_WEIGHT = 0.2
FILLER_WEIGHT = 0.3
FILLER_SHARE = 0.15
LONGEST_PREFIX = 5500
BANK = 64


class DrawnRatios:
    """A ratio drawn for every interval, and 0 (raw) for those from `raw_from` on."""

    def __init__(self, rng: random.Random, raw_from: int, weights: tuple[int, ...]) -> None:
        self.rng, self.raw_from, self.weights, self.interval = rng, raw_from, weights, 0

    def choose(self, received: int, passes: int) -> int:
        self.interval += 1
        return 0 if self.interval > self.raw_from else self.rng.choices(CONFIG.ratios, self.weights)[0]


def plan(tokens: int, prefix: int, rng: random.Random, weights: tuple[int, ...]) -> list[Pass]:
    """The passes over a text that stands behind `prefix` rows of memory; `weights` of the ratios."""
    intervals = math.ceil(tokens / CONFIG.window)
    raw_from = intervals - rng.randint(1, 3) if rng.random() < 0.5 else intervals
    planner = Planner(CONFIG, DrawnRatios(rng, max(raw_from, 1), weights))
    planner.restore(tokens=0, sink=0, beacons=prefix, intervals=0)
    passes = []
    while (left := tokens - planner.consumed) > 0:
        passes.append(planner.take(left))
    return passes


class Bank:
    """Memories of texts read before, to stand in front of others."""

    def __init__(self, rng: random.Random, share: float, shortest: int) -> None:
        self.rng, self.share, self.shortest = rng, share, shortest
        self.items: list[Activations] = []

    def add(self, done: OnePass) -> None:
        for keys, values in zip(done.keys.detach(), done.values.detach(), strict=True):
            if keys.shape[2]:
                self.items.append(Activations(keys.float().clone(), values.float().clone()))
        self.items = self.items[-BANK:]

    def draw(self) -> Activations | None:
        """Some thousand rows at most, often much fewer; None for a text that begins on its own."""
        if not self.items or self.rng.random() > self.share:
            return None
        wanted = int(math.exp(self.rng.uniform(math.log(self.shortest), math.log(LONGEST_PREFIX))))
        chosen = [self.rng.choice(self.items) for _ in range(math.ceil(wanted / self.items[0].rows) + 1)]
        keys = torch.cat([item.keys for item in chosen], 2)[:, :, :wanted]
        return Activations(keys, torch.cat([item.values for item in chosen], 2)[:, :, :wanted])


class HiddenStates:
    """Collects what every layer puts out, (batch, rows, width) each, while it is a context."""

    def __init__(self, model: Any) -> None:
        self.layers = model.model.layers
        self.states: list[torch.Tensor] = []

    def __enter__(self) -> list[torch.Tensor]:
        self.handles = [layer.register_forward_hook(self._keep) for layer in self.layers]
        return self.states

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _keep(self, layer: Any, inputs: Any, output: Any) -> None:
        self.states.append(output[0] if isinstance(output, tuple) else output)


def distance(student: list[torch.Tensor], teacher: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    """Mean over layers of the weighted squared distance of hidden states, relative to the teacher's size."""
    total = torch.zeros((), device=weights.device)
    for one, other in zip(student, teacher, strict=True):
        error = (one.float() - other.float()).square().mean(-1)
        total = total + (error * weights).sum() / (other.float().square().mean(-1) * weights).sum()
    return total / len(teacher)


def losses(
    model: Any, hidden: torch.Tensor, ids: torch.Tensor, answer: torch.Tensor
) -> tuple[torch.Tensor, float, float]:
    """Loss of all answer tokens and of some of the rest; also the mean loss of either kind."""
    target, marked = ids[:, 1:], answer[:, 1:]
    filler = (
        (torch.rand(target.shape, device=ids.device) < FILLER_SHARE) & ~marked & (target != model.config.pad_token_id)
    )
    chosen = marked | filler
    each = torch.nn.functional.cross_entropy(
        model.lm_head(hidden[:, :-1][chosen]).float(), target[chosen], reduction="none"
    )
    is_answer = marked[chosen]
    answers, rest = each[is_answer], each[~is_answer]
    loss = (answers.sum() + FILLER_WEIGHT * rest.sum()) / (len(answers) + FILLER_WEIGHT * len(rest))
    return loss, float(answers.detach().mean()), float(rest.detach().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="the 4-bit language model's folder")
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/beacon"))
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--peak", type=float, default=1e-3)
    parser.add_argument("--distill", type=float, default=3.0, help="weight of the distance to the teacher; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16; only fast with AMX or a GPU")
    parser.add_argument(
        "--prefix-share", type=float, default=0.25, help="batches that begin behind other texts' memory"
    )
    parser.add_argument("--shortest-prefix", type=int, default=32, help="rows of that memory at least")
    parser.add_argument("--tokens", type=int, default=8192, help="a step")
    parser.add_argument("--first-share", type=float, default=0.3, help="part of the time for the lowest ratios alone")
    parser.add_argument("--restart-clock", action="store_true", help="with --resume: a new schedule from these weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng, device = random.Random(options.seed), torch.device(options.device)
    model = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32, device_map={"": "cpu"})
    model = model.dequantize(dtype=torch.float32).float().to(device).requires_grad_(False).train(False)
    beacon = Beacon.like(CONFIG, model)
    beacon.copy_base(model, token=model.config.eos_token_id)
    beacon.to(device)
    rows = install(model, beacon)
    rotary = model_rotary(model.model, model.config).to(device)
    model.model.rotary_emb = rotary
    optimizer = torch.optim.AdamW(beacon.parameters(), lr=options.peak, betas=(0.9, 0.95), weight_decay=0.0)
    spent, step, seen = 0.0, 0, 0
    if options.resume:
        state = torch.load(options.out / "state.pt", weights_only=True)
        beacon.load_state_dict(state["beacon"])
        optimizer.load_state_dict(state["optimizer"])
        step, seen = int(state["step"]), int(state["tokens"])
        spent = 0.0 if options.restart_clock else state["seconds"]
    identity = model_fingerprint(options.base, options.out)

    context = mp.get_context("spawn")
    # The lengths and sources of the stage of the language model that goes up to 1,024 tokens: the mask of all intervals
    # in one pass grows with the square of the length.
    queue, fraction = context.Queue(12), context.Value("d", STAGES[-3].until)
    source = context.Process(
        target=produce, args=(queue, fraction, options.data, options.base, options.seed + step), daemon=True
    )
    source.start()

    def save() -> None:
        save_beacon(
            options.out / "beacon",
            copy.deepcopy(beacon).bfloat16(),
            base_name="beacon-pocket",
            base_fingerprint=identity,
        )
        state = {"beacon": beacon.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**state, "seconds": spent, "step": step, "tokens": seen}, options.out / "state.new")
        (options.out / "state.new").replace(options.out / "state.pt")

    bank = Bank(rng, options.prefix_share, options.shortest_prefix)
    ids, answer = queue.get()
    budget, began = options.minutes * 60, time.monotonic() - spent
    saved = logged = time.monotonic()
    logged_tokens, sums = seen, np.zeros(4)
    while (spent := time.monotonic() - began) < budget:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spent / budget, options.peak)
        prefix = bank.draw()
        length = ids.shape[1]
        ids, answer = ids[: max(1, options.tokens // length)], answer[: max(1, options.tokens // length)]
        weights = FIRST_RATIO_WEIGHTS if spent < options.first_share * budget else RATIO_WEIGHTS
        passes = plan(length, prefix.rows if prefix else 0, rng, weights)
        assert passes[-1].memory + length < POSITIONS
        batch = torch.from_numpy(ids.astype(np.int64)).to(device)
        marked = torch.from_numpy(answer).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            with torch.no_grad(), HiddenStates(model) as teacher:
                model.model(batch, use_cache=False)
            with HiddenStates(model) as student:
                done = read_in_one_pass(model, beacon, rows, rotary, passes, batch, prefix)
            loss, answers, rest = losses(model, done.hidden, batch, marked)
        raw = [row for row, entry in enumerate(e for p in passes for e in p.entries) if not entry.is_beacon]
        behind = marked.cumsum(1) > 0
        far = distance(
            [states[:, raw] for states in student],
            teacher,
            (batch != model.config.pad_token_id) * (DOCUMENT_WEIGHT + (1 - DOCUMENT_WEIGHT) * behind),
        )
        loss = loss + options.distill * far
        loss.backward()
        torch.nn.utils.clip_grad_norm_(beacon.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        bank.add(done)
        step, seen = step + 1, seen + ids.size
        sums += (answers, rest, 1, float(far.detach()))
        now = time.monotonic()
        if now - logged > 15:
            print(
                f"{spent / 60:6.2f} min  step {step}  tokens {seen / 1e6:.2f} M  "
                f"{(seen - logged_tokens) / (now - logged):.0f} tok/s  "
                f"answers {sums[0] / sums[2]:.3f}  filler {sums[1] / sums[2]:.3f}  "
                f"far {sums[3] / sums[2]:.3f}  length {length}  "
                f"prefix {prefix.rows if prefix else 0}",
                flush=True,
            )
            logged, logged_tokens, sums = now, seen, np.zeros(4)
        if now - saved > options.save_minutes * 60:
            save()
            saved = now
        ids, answer = queue.get()
    save()
    print("done", flush=True)
    source.terminate()


if __name__ == "__main__":
    main()

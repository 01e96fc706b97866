"""Train the pocket model's language model from nothing, within a given time.

    python -m recipes.pocket.pretrain --data DATA --tokenizer runs/pocket/tokenizer --out runs/pocket/base --minutes 60

The curriculum and the learning rate follow the clock, not the steps, so that a slower machine ends as smoothly as a
fast one. Samples are made in light extra processes. Every `--save-minutes` the folder gets a complete checkpoint:
`model/` in Hugging Face format (with the tokenizer), usable at once, and `state.pt`, from which `--resume` goes on;
SIGTERM writes one more and ends. `metrics.jsonl` has the losses. Where the CPU has AMX, and on a GPU, bfloat16 products
(`--bf16`) are many times faster than float32; elsewhere leave it off.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from recipes.pocket.clock import learning_rate, with_machine
from recipes.pocket.compose import Composer, Plan
from recipes.pocket.imprint import imprint

POSITIONS = 8192


@dataclass(frozen=True)
class Stage:
    """Until this share of the time: sequence lengths with their shares of the steps, tokens per step, and sources."""

    until: float
    lengths: dict[int, float]
    tokens: int
    plans: dict[int, Plan]
    filler: float = 0.15  # share of the tokens outside answers that get a loss


def _plans(counts: dict[int, tuple[int, int]], **settings: float) -> dict[int, Plan]:
    return {length: Plan(facts=facts, **settings) for length, facts in counts.items()}


_EARLY = {"factbook": 0.0, "generated": 1.0, "passages": 0.0, "unanswerable": 0.0, "summary": 0.0}
STAGES = (
    Stage(0.07, {64: 0.6, 128: 0.4}, 2048, _plans({64: (1, 2), 128: (2, 4)}, bare=0.8, **_EARLY), filler=1.0),
    Stage(
        0.2,
        {128: 0.5, 256: 0.5},
        4096,
        _plans({128: (2, 4), 256: (3, 8)}, generated=0.85, factbook=0.08, passages=0.1, unanswerable=0.03, bare=0.3),
        filler=0.3,
    ),
    Stage(
        0.42,
        {128: 0.15, 256: 0.5, 512: 0.35},
        8192,
        _plans({128: (1, 4), 256: (2, 8), 512: (4, 14)}, generated=0.65, factbook=0.15, bare=0.1),
    ),
    Stage(0.7, {256: 0.25, 512: 0.5, 1024: 0.25}, 8192, _plans({256: (2, 6), 512: (2, 14), 1024: (6, 24)})),
    Stage(
        1.01,
        {256: 0.1, 512: 0.3, 1024: 0.35, 2048: 0.25},
        8192,
        _plans({256: (2, 6), 512: (2, 12), 1024: (4, 24), 2048: (8, 40)}),
    ),
)


def stage_at(fraction: float) -> Stage:
    return next(stage for stage in STAGES if fraction < stage.until)


def build(vocabulary: int, width: int = 256, layers: int = 4, heads: int = 4) -> LlamaForCausalLM:
    """The model, with tied embeddings and as many key heads as query heads."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def produce(queue: Any, fraction: Any, root: Path, tokenizer: Path, times: int, seed: int) -> None:
    """An extra process: puts (ids, answer marks) batches, of so many `times` the stage's tokens, on the queue."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    composer = Composer(root, Tokenizer.from_file(str(tokenizer / "tokenizer.json")), seed)
    rng = random.Random(seed)
    while True:
        stage = stage_at(fraction.value)
        length = rng.choices(list(stage.lengths), list(stage.lengths.values()))[0]
        queue.put(composer.batch(length, times * stage.tokens // length, stage.plans[length]))


def causal_mask(model: LlamaForCausalLM, length: int) -> torch.Tensor | None:
    """Sets how `model` attends at this length and returns the mask to give it.

    Fused attention's backward pass is slow on CPUs where sequences are short: products and a mask win there.
    """
    short = length <= 256 and model.device.type == "cpu"
    model.config._attn_implementation = "eager" if short else "sdpa"
    return torch.full((1, 1, length, length), -1e9).triu(1) if short else None


def hidden_states(
    model: LlamaForCausalLM, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Last hidden states (batch, length, width), causal whatever the positions; no mask means plain causal."""
    decoder = model.model
    hidden = decoder.embed_tokens(ids)
    rotation = decoder.rotary_emb(hidden, position_ids=positions)
    for layer in decoder.layers:
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotation)
    last: torch.Tensor = decoder.norm(hidden)
    return last


def loss_of(
    model: LlamaForCausalLM,
    forward: Callable[..., torch.Tensor],
    ids: torch.Tensor,
    answer: torch.Tensor,
    pad: int,
    share: float,
    bf16: bool,
) -> tuple[torch.Tensor, float, float]:
    """Loss of all answer tokens and of a share of the rest; also the mean loss of either kind."""
    offset = int(torch.randint(0, POSITIONS - ids.shape[1] + 1, ()))
    positions = torch.arange(ids.shape[1], device=ids.device)[None] + offset
    target = ids[:, 1:]
    marked = answer[:, 1:]
    filler = (torch.rand(target.shape, device=ids.device) < share) & ~marked & (target != pad)
    chosen = marked | filler
    mask = causal_mask(model, ids.shape[1])
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
        hidden = forward(model, ids, positions, mask)[:, :-1][chosen]
        logits = model.lm_head(hidden)
    losses = nn.functional.cross_entropy(logits.float(), target[chosen], reduction="none")
    is_answer = marked[chosen]
    answers, rest = losses[is_answer], losses[~is_answer]
    weight = 0.3
    loss = (answers.sum() + weight * rest.sum()) / (len(answers) + weight * len(rest))
    return loss, float(answers.detach().mean()), float(rest.detach().mean())


def save(
    out: Path, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, tokenizer: Path, progress: dict[str, float]
) -> None:
    """A usable model folder and the state to resume from, each replaced in one step."""
    fresh, kept = out / "model.new", out / "model"
    model.save_pretrained(fresh)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(fresh)
    kept.mkdir(exist_ok=True)
    for file in fresh.iterdir():
        file.replace(kept / file.name)
    fresh.rmdir()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **progress}
    torch.save(state, out / "state.new")
    (out / "state.new").replace(out / "state.pt")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=Path("runs/pocket/tokenizer"))
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/base"))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--times", type=int, default=1, help="steps of so many times the curriculum's tokens")
    parser.add_argument("--producers", type=int, default=1, help="processes that make samples")
    parser.add_argument("--seed", type=int, default=1)
    return with_machine(parser).parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    tokenizer = Tokenizer.from_file(str(options.tokenizer / "tokenizer.json"))
    model = build(tokenizer.get_vocab_size(), options.width, options.layers, options.heads)
    imprint(model)
    model.to(options.device)
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        lr=options.peak,
        betas=(0.9, 0.95),
        fused=True,
    )
    spent, step, seen = 0.0, 0, 0
    if options.resume:
        state = torch.load(options.out / "state.pt", weights_only=True, map_location=options.device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step, seen = state["seconds"], int(state["step"]), int(state["tokens"])
    pad = model.config.pad_token_id
    forward: Callable[..., torch.Tensor] = hidden_states
    if options.compile:
        torch._dynamo.config.recompile_limit = 32
        forward = torch.compile(hidden_states, dynamic=False)

    context = mp.get_context("spawn")
    budget = options.minutes * 60
    queue, fraction = context.Queue(12), context.Value("d", min(1.0, spent / budget))
    sources = [
        context.Process(
            target=produce,
            args=(queue, fraction, options.data, options.tokenizer, options.times, options.seed + step + 1_000_003 * i),
            daemon=True,
        )
        for i in range(options.producers)
    ]
    for source in sources:
        source.start()
    ids, answer = queue.get()  # the composers' start does not count
    saved = logged = time.monotonic()
    began, logged_tokens, sums = logged - spent, seen, np.zeros(3)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    while True:
        fraction.value = min(1.0, spent / budget)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(fraction.value, options.peak)
        batch = torch.from_numpy(ids.astype(np.int64)).to(options.device), torch.from_numpy(answer).to(options.device)
        loss, answers, rest = loss_of(model, forward, *batch, pad, stage_at(fraction.value).filler, options.bf16)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + ids.size
        sums += (answers, rest, 1)
        now = time.monotonic()
        spent = now - began
        if now - logged > 15 or spent >= budget:
            figures = {
                "seconds": round(spent, 1),
                "step": step,
                "tokens": seen,
                "tokens_per_second": round((seen - logged_tokens) / (now - logged)),
                "answers": round(sums[0] / sums[2], 3),
                "filler": round(sums[1] / sums[2], 3),
            }
            print(json.dumps({**figures, "length": ids.shape[1], "queue": queue.qsize()}), flush=True)
            with (options.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
            logged, logged_tokens, sums = now, seen, np.zeros(3)
        over = stopped or spent >= budget
        if over or now - saved > options.save_minutes * 60:
            save(options.out, model, optimizer, options.tokenizer, {"seconds": spent, "step": step, "tokens": seen})
            saved = now
        if over:
            break
        ids, answer = queue.get()
    for source in sources:
        source.terminate()
    if stopped:
        raise SystemExit("stopped; --resume goes on")


if __name__ == "__main__":
    main()

"""Train the pocket model's language model from nothing, within a given time.

    python -m recipes.pocket.pretrain --data DATA --tokenizer runs/pocket/tokenizer --out runs/pocket/base --minutes 60

The curriculum and the learning rate follow the clock, not the steps, so that a slower machine ends as smoothly as a
fast one. Samples are made in one light extra process. Every `--save-minutes` the folder gets a complete checkpoint:
`model/` in Hugging Face format (with the tokenizer), usable at once, and `state.pt`, from which `--resume` goes on;
SIGTERM writes one more and ends. Where the CPU has AMX, bfloat16 products (`--bf16`) are many times faster than
float32; elsewhere leave it off.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

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
    Stage(
        0.7,
        {256: 0.25, 512: 0.5, 1024: 0.25},
        8192,
        _plans({256: (2, 6), 512: (2, 14), 1024: (6, 24)}),
    ),
    Stage(
        1.01,
        {256: 0.1, 512: 0.3, 1024: 0.35, 2048: 0.25},
        8192,
        _plans({256: (2, 6), 512: (2, 12), 1024: (4, 24), 2048: (8, 40)}),
    ),
)


def stage_at(fraction: float) -> Stage:
    return next(stage for stage in STAGES if fraction < stage.until)


def learning_rate(fraction: float, peak: float) -> float:
    """Linear warm-up over the first 2 %, then a cosine to 5 % of the peak."""
    warm = min(1.0, fraction / 0.02 + 0.02)
    return peak * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def build(vocabulary: int) -> LlamaForCausalLM:
    """The model: 4 layers, 256 wide, tied embeddings."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def produce(queue: mp.Queue, fraction: mp.Value, root: Path, tokenizer: Path, seed: int) -> None:  # type: ignore[valid-type]
    """The extra process: puts (ids, answer marks) batches on the queue for ever."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    composer = Composer(root, Tokenizer.from_file(str(tokenizer / "tokenizer.json")), seed)
    rng = random.Random(seed)
    while True:
        stage = stage_at(fraction.value)  # type: ignore[attr-defined]
        length = rng.choices(list(stage.lengths), list(stage.lengths.values()))[0]
        queue.put(composer.batch(length, stage.tokens // length, stage.plans[length]))


def causal_mask(model: LlamaForCausalLM, length: int) -> torch.Tensor | None:
    """Sets how `model` attends at this length and returns the mask to give it.

    Fused attention's backward pass is slow on CPUs where sequences are short: products and a mask win there.
    """
    short = length <= 256
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
    return decoder.norm(hidden)


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
    positions = torch.arange(ids.shape[1])[None] + offset
    target = ids[:, 1:]
    marked = answer[:, 1:]
    filler = (torch.rand(target.shape) < share) & ~marked & (target != pad)
    chosen = marked | filler
    mask = causal_mask(model, ids.shape[1])
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=Path("runs/pocket/tokenizer"))
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/base"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16; only fast with AMX")
    parser.add_argument("--compile", action="store_true", help="torch.compile; needs a C++ compiler")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = build(4096)
    imprint(model)
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
        state = torch.load(options.out / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step, seen = state["seconds"], int(state["step"]), int(state["tokens"])
    pad = model.config.pad_token_id
    forward: Callable[..., torch.Tensor] = hidden_states
    if options.compile:
        torch._dynamo.config.recompile_limit = 32
        forward = torch.compile(hidden_states, dynamic=False)

    context = mp.get_context("spawn")
    queue, fraction = context.Queue(12), context.Value("d", 0.0)
    source = context.Process(
        target=produce, args=(queue, fraction, options.data, options.tokenizer, options.seed + step), daemon=True
    )
    budget = options.minutes * 60
    fraction.value = spent / budget
    source.start()
    ids, answer = queue.get()  # the composer's start does not count
    began = time.monotonic() - spent
    saved = logged = time.monotonic()
    logged_tokens, sums = seen, np.zeros(3)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    while (spent := time.monotonic() - began) < budget and not stopped:
        fraction.value = spent / budget
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(fraction.value, options.peak)
        batch = torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(answer)
        loss, answers, rest = loss_of(model, forward, *batch, pad, stage_at(fraction.value).filler, options.bf16)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + ids.size
        sums += (answers, rest, 1)
        now = time.monotonic()
        if now - logged > 15:
            speed = (seen - logged_tokens) / (now - logged)
            print(
                f"{spent / 60:6.2f} min  step {step}  tokens {seen / 1e6:.2f} M  {speed:.0f} tok/s  "
                f"answers {sums[0] / sums[2]:.3f}  filler {sums[1] / sums[2]:.3f}  lr {group['lr']:.2e}  "
                f"length {ids.shape[1]}  queue {queue.qsize()}",
                flush=True,
            )
            logged, logged_tokens, sums = now, seen, np.zeros(3)
        if now - saved > options.save_minutes * 60:
            save(options.out, model, optimizer, options.tokenizer, {"seconds": spent, "step": step, "tokens": seen})
            saved = now
        ids, answer = queue.get()
    save(options.out, model, optimizer, options.tokenizer, {"seconds": spent, "step": step, "tokens": seen})
    print("done", flush=True)
    source.terminate()


if __name__ == "__main__":
    main()

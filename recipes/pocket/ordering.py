"""Does training recover the paper's ordering of schemes, ways to draw the ratio, and objectives?

    python -m recipes.pocket.ordering --data DATA --base models/beacon_pocket/model --out runs/pocket/ordering

Every variant trains a beacon for the frozen BASE: copied projections to start from, the same texts in the same order,
the same number of steps, seed and learning rate, with the passes, labels and losses of `beacon train`, but a batch of
texts at a time, all with the same ratios, which for a model of this size is many times faster. (The shipped language
model has seen interleaved beacons with full coverage in `bring_up`; one that has seen none learns too little in this
time for anything to be compared.) Texts are invented facts that are to be repeated,
the same with questions, and pieces of books. What comes of it is measured on others that were kept out of training, at
every ratio and on the same tokens for all variants: tokens of books behind the first interval; facts repeated, each
word more than an interval behind its original; and answers that begin in a later interval than the first answer, and
so than the end of the document. What those say can only come from the memory.

What is done is kept: a run that was stopped goes on where it was, and several may share the variants among them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from activation_beacon.architecture import decoder_of
from activation_beacon.checkpoint import save_beacon
from activation_beacon.config import BeaconConfig
from activation_beacon.objectives import hidden_distance, layer_outputs, read_uncondensed, token_losses
from activation_beacon.onepass import read_in_one_pass
from activation_beacon.planner import Pass, Planner
from activation_beacon.ratios import Fixed
from activation_beacon.training import IGNORED, Trainee, training_chooser, training_labels, training_passes
from beacon_cli.evaluation.report import markdown
from beacon_cli.events import returned
from beacon_cli.training.layouts import Sample
from beacon_cli.training.preparation import load_trainee, prepare
from beacon_cli.training.schedule import learning_rate, ratio_generator
from beacon_cli.training.settings import COPY, TrainSettings
from beacon_cli.training.trainer import BETAS
from recipes.pocket.compose import Composer
from recipes.pocket.pretrain import POSITIONS
from recipes.pocket.short_texts import KINDS, LONGEST, WINDOW, write_texts

OBJECTIVE = "ar+hidden"
LR = 2e-3
BATCH = 16
RATIOS = (2, 4, 8)
# Repeating is half of the lessons: there almost every learned token depends on the memory.
SHARES = {"repeated": 0.5, "answers": 0.3, "books": 0.2}
# Texts to measure with.
MEASURED = {"repeated": 40, "answers": 80, "books": 16}


COLUMNS = {
    ("answers", "loss"): "answers, nats",
    ("answers", "exact"): "exact, %",
    ("books", "loss"): "books, nats",
}
# What is measured beside the variants; the last at every ratio.
REFERENCES = {"uncondensed": "full", "the running interval alone": "interval", "copied beacon, untrained": ""}


# Settings of `beacon train` in which each differs from the first.
VARIANTS: dict[str, dict[str, Any]] = {
    "interleaved, full coverage": {},
    "interleaved, step-wise expansion": {"attn": "step-expansion"},
    "appended, step-wise expansion": {"pos": "append", "attn": "step-expansion"},
    "appended, segmentation": {"pos": "append", "attn": "segmentation"},
    "appended, full coverage": {"pos": "append", "attn": "full-coverage"},
    "ratio drawn for every text": {"ratio_mix": "instance-random"},
    "ratio always 4": {"ratios": (4,)},
    "objective ar": {"objective": "ar"},
    "objective ar+distill": {"objective": "ar+distill"},
}


@dataclass
class Sums:
    """Of the tokens of one kind that are measured; an answer is a run of them."""

    loss: float = 0.0
    tokens: int = 0
    exact: int = 0
    answers: int = 0


@dataclass(frozen=True)
class Question:
    """A text and what is measured of it: runs of reading positions, those of one answer each."""

    kind: str
    ids: Tensor
    runs: list[range]


def question(sample: Sample) -> Question:
    """What is measured of a sample; see the top of this file."""
    ids = torch.from_numpy(sample.ids).long()
    if sample.learned.all():
        return Question("books", ids, [range(WINDOW, len(ids) - 1)])
    edges = np.flatnonzero(np.diff(sample.learned.astype(np.int8), append=0))
    # A token is predicted where the one before it is read: those are the positions from edge to edge.
    runs = [range(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    if len(runs) == 1:
        return Question("repeated", ids, runs)
    return Question("answers", ids, [run for run in runs if run.start // WINDOW > runs[0].start // WINDOW])


def passes(tokens: int, config: BeaconConfig, ratio: int) -> list[Pass]:
    """As the tool reads a text and what is asked about it."""
    planner = Planner(config, Fixed(ratio))
    plans = []
    while planner.consumed < tokens:
        plans.append(planner.take(tokens - planner.consumed))
    return plans


@torch.no_grad()
def score(trainee: Trainee, questions: list[Question], read: Callable[[Tensor], Tensor]) -> dict[str, dict[str, float]]:
    """By kind: cross-entropy a token, and the share of answers of which every token is the likeliest.

    Args:
        read: (tokens) ids -> (tokens, hidden) last hidden states.
    """
    head: Any = trainee.model.get_output_embeddings()  # type: ignore[operator]  # a PreTrainedModel method
    sums = {kind: Sums() for kind in KINDS}
    for asked in questions:
        logits, kind = head(read(asked.ids)).float(), sums[asked.kind]
        for run in asked.runs:
            predicted, target = logits[run.start : run.stop], asked.ids[run.start + 1 : run.stop + 1]
            kind.loss += float(torch.nn.functional.cross_entropy(predicted, target, reduction="sum"))
            kind.tokens += len(target)
            kind.exact += int((predicted.argmax(-1) == target).all())
            kind.answers += 1
    return {
        name: asdict(kind) | {"loss": kind.loss / kind.tokens, "exact": kind.exact / kind.answers}
        for name, kind in sums.items()
    }


def teach(settings: TrainSettings, steps: int, folder: Path) -> dict[str, float]:
    """Train a beacon and leave it in `folder`; returns steps, tokens, seconds, and the loss of the last tenth."""
    began = time.monotonic()
    torch.manual_seed(settings.seed)
    prepared = returned(prepare(settings))
    trainee, config = load_trainee(prepared).trainee, prepared.info.config
    parameters = list(trainee.beacon.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, betas=BETAS, weight_decay=0.0)
    weights = {"ar": 0.0, "distill": 0.0, "hidden": 0.0} | settings.objectives()
    samples, entropies = prepared.data.samples, []
    for step in range(steps):
        batch = samples[step * BATCH : (step + 1) * BATCH]
        ids = torch.zeros(BATCH, LONGEST, dtype=torch.long)
        learned = torch.zeros(BATCH, LONGEST, dtype=torch.bool)
        for row, sample in enumerate(batch):
            ids[row, : len(sample.ids)] = torch.from_numpy(sample.ids)
            learned[row, : len(sample.ids)] = torch.from_numpy(sample.learned)
        chooser = training_chooser(config, LONGEST, positions=POSITIONS, rng=ratio_generator(settings.seed, step))
        plans = training_passes(LONGEST, config, chooser)
        with torch.autocast("cpu", torch.bfloat16):
            losses = batch_losses(trainee, ids, training_labels(ids.masked_fill(~learned, IGNORED), config), plans)
        sum((weights[name] * loss for name, loss in losses.items()), torch.zeros(())).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, steps // 20, settings.lr)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        entropies.append(float(losses["ar"].detach()))
    save_beacon(
        folder, trainee.beacon, base_name=prepared.info.base_name, base_fingerprint=prepared.info.base_fingerprint
    )
    tokens = sum(len(sample.ids) for sample in samples[: steps * BATCH])
    last = fmean(entropies[-max(1, steps // 10) :])
    return {"steps": steps, "tokens": tokens, "seconds": round(time.monotonic() - began), "last_loss": round(last, 3)}


def batch_losses(trainee: Trainee, ids: Tensor, labels: Tensor, plans: list[Pass]) -> dict[str, Tensor]:
    """The objectives of (batch, tokens) `ids`, means over all that `labels` (shifted) do not ignore."""
    model, learned = trainee.model, labels != IGNORED
    decoder = decoder_of(model)
    with torch.no_grad(), layer_outputs(decoder) as taught:
        last = decoder(input_ids=ids, use_cache=False).last_hidden_state[learned]
    with layer_outputs(decoder) as outputs:
        done = read_in_one_pass(model, trainee.beacon, trainee.rows, trainee.rotary, plans, ids)
    raw = [row for row, entry in enumerate(e for plan in plans for e in plan.entries) if not entry.is_beacon]
    entropy, divergence = token_losses(model, done.hidden[learned], labels[learned], last) / learned.sum()
    far = hidden_distance(
        [output[:, raw][learned] for output in outputs], [output[learned] for output in taught], slice(None)
    )
    return {"ar": entropy, "distill": divergence, "hidden": far}


def measure(settings: TrainSettings, held_out: Path, init: str) -> dict[str, Any]:
    """The scores of a beacon at every ratio; of the copied one, that nothing was taught, also those without any."""
    prepared = returned(prepare(replace(settings, data=(str(held_out),), init=init)))
    trainee, config = load_trainee(prepared).trainee, prepared.info.config
    questions = [question(sample) for sample in prepared.data.samples]

    def condensed(ids: Tensor, ratio: int) -> Tensor:
        plans = passes(len(ids), config, ratio)
        done = read_in_one_pass(trainee.model, trainee.beacon, trainee.rows, trainee.rotary, plans, ids[None])
        return done.hidden[0]

    def uncondensed(ids: Tensor) -> Tensor:
        return read_uncondensed(trainee.model, ids, torch.ones(len(ids), dtype=torch.bool), layers=False).last

    found = {str(ratio): score(trainee, questions, partial(condensed, ratio=ratio)) for ratio in RATIOS}
    if init == COPY:
        found["full"] = score(trainee, questions, uncondensed)
        found["interval"] = score(
            trainee, questions, lambda ids: torch.cat([uncondensed(part) for part in torch.split(ids, WINDOW)])
        )
    return found


def table(results: dict[str, Any]) -> str:
    """Markdown: a row for every variant, the mean over its seeds; in parentheses from which to which they go."""
    columns = [(kind, figure, str(r)) for kind, figure in COLUMNS for r in RATIOS]
    header = ["variant", *(f"{COLUMNS[kind, figure]}: {ratio}×" for kind, figure, ratio in columns)]
    reference = results["reference"]
    rows = []
    for name, reading in REFERENCES.items():
        cells = [_cell(figure, [reference[reading or ratio][kind][figure]]) for kind, figure, ratio in columns]
        rows.append([name, *cells])
    for name in VARIANTS:
        runs = [row["scores"] for row in results["rows"] if row["variant"] == name]
        if runs:
            cells = [_cell(figure, [run[ratio][kind][figure] for run in runs]) for kind, figure, ratio in columns]
            rows.append([name, *cells])
    return markdown(header, rows)


def gather(out: Path) -> dict[str, Any]:
    """What has been measured so far in the folder `out`."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*-*.json"))]
    return {"reference": json.loads((out / "reference.json").read_text(encoding="utf-8")), "rows": rows}


def write(path: Path, value: dict[str, Any]) -> None:
    """As JSON."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _cell(figure: str, values: list[float]) -> str:
    shown, digits = ([100 * value for value in values], 0) if figure == "exact" else (values, 2)
    mean = f"{fmean(shown):.{digits}f}"
    return mean if len(shown) == 1 else f"{mean} ({min(shown):.{digits}f}–{max(shown):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="the 4-bit language model's folder, without a beacon")
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/ordering"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", type=int, nargs="+", default=list(range(len(VARIANTS))), help="by number")
    options = parser.parse_args()

    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    reader = Tokenizer.from_file(str(options.base / "tokenizer.json"))
    lessons, held_out = options.out / "train.jsonl", options.out / "held_out.jsonl"
    if not held_out.exists():
        composer = Composer(options.data, reader, 11)
        drawn = composer.rng.choices(list(SHARES), list(SHARES.values()), k=options.steps * BATCH)
        write_texts(lessons, composer, drawn)
        others = Composer(options.data, reader, 77_002, held_out=True)
        write_texts(held_out, others, [kind for kind, count in MEASURED.items() for _ in range(count)])
    common = TrainSettings(
        data=(str(lessons),), model=str(options.base), device="cpu", window=WINDOW, ratios=RATIOS,
        objective=OBJECTIVE, max_tokens=LONGEST, checkpoint_layers=False, lr=LR, batch=BATCH,
        steps=options.steps, save_every=100, keep=1,
    )  # fmt: skip
    reference = options.out / "reference.json"
    if not reference.exists():
        write(reference, measure(common, held_out, COPY))
    for seed in options.seeds:
        for index in options.variants:
            name, folder = list(VARIANTS)[index], options.out / f"{index}-{seed}"
            row = folder.with_suffix(".json")
            if row.exists():
                continue
            settings = replace(common, seed=seed, **VARIANTS[name])
            cost = teach(settings, options.steps, folder)
            scores = measure(settings, held_out, str(folder))
            write(row, {"variant": name, "seed": seed, **cost, "scores": scores})
            results = gather(options.out)
            write(options.out / "ordering.json", results)
            print(table(results), flush=True)


if __name__ == "__main__":
    main()

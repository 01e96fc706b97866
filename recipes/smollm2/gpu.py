"""Reader and beacon on one GPU, in minutes: `pack` what they learn from into one file, then `gpu`.

    python -m recipes.smollm2 pack --data DATA --out runs/pack.json.xz
    python -m recipes.smollm2 gpu --pack runs/pack.json.xz --out runs/gpu --minutes 2 6

The first minutes are the reader's, the others the beacon's, which is trained on the base with the reader merged into it.
Both are learned towards the answers; the beacon also towards what the same model predicts that reads without condensing.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from beacon_cli.answering.prompts import REFUSAL
from recipes.smollm2 import base, sources
from recipes.smollm2.conversations import Composer, Mix
from recipes.smollm2.decoder import PARAM, PLACES, Beacons, Decoder, Lora
from recipes.smollm2.lessons import MEMORY_ROWS, PLAIN_ROWS, RATIOS, ROWS, WINDOW, Teacher, draw_ratios
from recipes.smollm2.rows import TRIES, Layout, piece
from recipes.smollm2.sheets import Sheets, batch, of_pieces
from recipes.smollm2.sources import Passage, Question

MIX = Mix(
    {"squad": 0.68, "factbook": 0.1, "fairytaleqa": 0.12, "quoref": 0.03, "adversarialqa": 0.05, "boolq": 0.02},
    distractors=(0.45, 0.12, 0.1, 0.1, 0.11, 0.12),
    unanswerable=1.0,
    foreign=0.1,
    cut=0.15,
    again=0.15,
)
LESSONS = {"squad": 0.55, "factbook": 0.18, "fairytaleqa": 0.2, "quoref": 0.03, "boolq": 0.04}
SMOKE = Mix({"squad": 1.0})


@dataclass(frozen=True)
class Plan:
    """How one of the two is trained.

    Attributes:
        seconds: of training, after the first steps, in which layers are compiled.
        rows, tokens: a step's.
        rate: of learning, at its highest; `warmup` steps rise to it, the last `decay` share of the steps fall to zero.
    """

    seconds: float
    rows: int
    tokens: int
    rate: float
    warmup: int = 20
    decay: float = 0.5


READER = Plan(90, 8, 2048, 1.5e-3)
BEACON = Plan(300, 16, ROWS, 3e-4)
# Steps after which the speed is known.
MEASURED = 12


def pack(options: argparse.Namespace) -> None:
    """The command `pack`."""
    packed: dict[str, Any] = {
        split: {
            name: [[p.group, p.text, [[q.text, q.answers] for q in p.questions]] for p in found]
            for name, found in sources.load(options.data, split).items()
        }
        for split in ("train", "dev")
    }
    packed["books"] = sources.books(options.data, options.characters)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(options.out, "wt", encoding="utf-8") as file:
        json.dump(packed, file, ensure_ascii=False)


def unpack(path: Path) -> tuple[dict[str, dict[str, list[Passage]]], list[str]]:
    """Passages by split and data set, and books."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        packed = json.load(file)
    books = packed.pop("books")
    return {
        split: {
            name: [
                Passage(name, group, text, tuple(Question(q, tuple(a)) for q, a in questions))
                for group, text, questions in found
            ]
            for name, found in sets.items()
        }
        for split, sets in packed.items()
    }, books


class ReaderBatches(Dataset[Sheets]):
    """Batch number n of the reader's rows: the same whenever it is made."""

    def __init__(self, composer: Composer, layout: Layout, plan: Plan, seed: int) -> None:
        self.composer, self.layout, self.plan, self.seed = composer, layout, plan, seed

    def __getitem__(self, index: int) -> Sheets:
        chance = random.Random(f"reader/{self.seed}/{index}")
        return batch([self._sheet(chance) for _ in range(self.plan.rows)], self.plan.tokens, 0, self.layout.end)

    def _sheet(self, chance: random.Random) -> Any:
        pieces, used, tries = list[Any](), 0, 0
        while tries < TRIES or not pieces:
            made = piece(self.composer.conversation(chance), self.layout, self.plan.tokens - used)
            if made is None:
                tries += 1
            else:
                pieces.append(made)
                used += len(made.ids)
        return of_pieces(pieces)


class BeaconBatches(Dataset[tuple[Sheets, Sheets]]):
    """Batch number n of the beacon's rows, condensed and not.

    Args:
        ratio: of all intervals; None draws them.
    """

    def __init__(self, teacher: Teacher, plan: Plan, seed: int, ratio: int | None = None) -> None:
        self.teacher, self.plan, self.seed, self.ratio = teacher, plan, seed, ratio

    def __getitem__(self, index: int) -> tuple[Sheets, Sheets]:
        chance = random.Random(f"beacon/{self.seed}/{index}")
        condensed, plain = [], []
        for _ in range(self.plan.rows):
            ratios = [self.ratio] * 3 if self.ratio else draw_ratios(chance, self.teacher.share)
            lesson = self.teacher.lesson(chance, len(ratios))
            condensed.append(lesson.sheet(WINDOW, ratios))
            plain.append(lesson.sheet())
        end = self.teacher.layout.end
        return batch(condensed, ROWS, MEMORY_ROWS, end), batch(plain, PLAIN_ROWS, 0, end)


def whole(items: list[Any]) -> Any:
    """A data loader's batch of one item, which is a batch already."""
    return items[0]


def batches(data: Any, workers: int, first: int = 0) -> Iterator[Any]:
    """All batches from number `first` on, made by other processes."""
    order = range(first, first + 1_000_000)
    return iter(DataLoader(data, 1, sampler=order, num_workers=workers, collate_fn=whole, prefetch_factor=4 if workers else None))


class Training:
    """Steps of one of the two, whose number follows from the time that there is."""

    def __init__(self, name: str, parameters: nn.Module, plan: Plan, out: Path) -> None:
        self.name, self.plan, self.out = name, plan, out
        self.parameters = [p for p in parameters.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, plan.rate, (0.9, 0.98), weight_decay=0.0, fused=True)
        self.steps = 0
        self.used = 0

    def run(self, losses: Callable[[], tuple[Tensor, dict[str, float], int]]) -> Iterator[int]:
        """Train; yields the number of every step that is done."""
        began = time.monotonic()
        step = 0
        while not self.steps or step < self.steps:
            if step == MEASURED and not self.steps:
                _wait()
                self.steps = max(step + 1, round(self.plan.seconds / ((time.monotonic() - began) / (MEASURED - 4))))
            if step == 4:
                _wait()
                began = time.monotonic()
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(step)
            loss, said, used = losses()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            step += 1
            self.used += used
            if step % 10 == 0 or step == self.steps:
                self.log(step, seconds=round(time.monotonic() - began, 1), norm=float(norm), tokens=self.used, **said)
            yield step

    def _rate(self, step: int) -> float:
        rising = (step + 1) / self.plan.warmup
        falling = (self.steps - step) / max(1.0, self.plan.decay * self.steps) if self.steps else 1.0
        return self.plan.rate * min(1.0, rising, falling)

    def log(self, step: int, **figures: Any) -> None:
        """Add a line to the metrics, and print it."""
        line = {"what": self.name, "step": step, "of": self.steps, **figures}
        text = json.dumps({k: round(float(v), 5) if isinstance(v, float | Tensor) else v for k, v in line.items()})
        print(text, flush=True)
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def learned_hidden(hidden: Tensor, sheets: Sheets) -> Tensor:
    """(learned, hidden) of what tokens are predicted from."""
    return hidden.flatten(0, 1).index_select(0, sheets.places)


def right_answers(predicted: Tensor, sheets: Sheets) -> Tensor:
    """(answers) 1 where every token of the answer is the likeliest: decoded greedily, it would be given as it stands."""
    asked = sheets.answer >= 0
    count = int(sheets.answer.max()) + 1
    right = torch.ones(count, device=predicted.device)
    return right.scatter_reduce(0, sheets.answer[asked], (predicted == sheets.targets)[asked].float(), "amin")


def refusals(sheets: Sheets, first: int) -> Tensor:
    """(answers) whether the answer is the refusal, which begins with the token `first`."""
    asked = sheets.answer >= 0
    answers, targets = sheets.answer[asked], sheets.targets[asked]
    begins = torch.ones_like(answers, dtype=torch.bool)
    begins[1:] = answers[1:] != answers[:-1]
    return targets[begins] == first


def reader_losses(
    decoder: Decoder, lora: Lora, source: Iterator[Sheets], device: str
) -> Callable[[], tuple[Tensor, dict[str, float], int]]:
    """Makes the loss of the next batch."""

    def losses() -> tuple[Tensor, dict[str, float], int]:
        sheets = next(source).to(device)
        logits = decoder.logits(learned_hidden(decoder(sheets, lora), sheets))
        loss = nn.functional.cross_entropy(logits, sheets.targets)
        return loss, {"loss": loss.detach()}, sheets.used  # type: ignore[dict-item]  # read when it is logged

    return losses


def beacon_losses(
    decoder: Decoder, beacons: Beacons, source: Iterator[tuple[Sheets, Sheets]], device: str
) -> Callable[[], tuple[Tensor, dict[str, float], int]]:
    """Makes the loss of the next batch: cross-entropy and divergence from the uncondensed model, answers and text alike."""

    def losses() -> tuple[Tensor, dict[str, float], int]:
        condensed, plain = (sheets.to(device) for sheets in next(source))
        with torch.no_grad():
            target = decoder.logits(learned_hidden(decoder(plain), plain)).log_softmax(-1)
        predicted = decoder.logits(learned_hidden(decoder(condensed, None, beacons), condensed)).log_softmax(-1)
        asked = condensed.answer >= 0
        entropy = nn.functional.nll_loss(predicted, condensed.targets, reduction="none")
        divergence = (target.exp() * (target - predicted)).sum(-1)
        both = entropy + divergence
        # What is asked counts three times what is read: there is less of it, and it needs the memory.
        loss = (3 * both[asked].sum() + both[~asked].sum()) / (3 * asked.sum() + (~asked).sum())
        with torch.no_grad():
            said = {
                "loss": loss.detach(),
                "asked": entropy[asked].mean(),
                "asked_kl": divergence[asked].mean(),
                "asked_plain": nn.functional.nll_loss(target[asked], condensed.targets[asked]),
                "read": entropy[~asked].mean(),
                "read_kl": divergence[~asked].mean(),
            }
        return loss, said, condensed.used  # type: ignore[return-value]  # read when it is logged

    return losses


@torch.no_grad()
def look_at_reader(decoder: Decoder, lora: Lora, data: ReaderBatches, count: int, device: str) -> dict[str, float]:
    """On batches of what is held out: loss, and per cent of the answers and of the refusals that are given as they stand."""
    first = data.layout.ids(REFUSAL)[0]
    total = torch.zeros(6, device=device)
    for index in range(count):
        sheets = data[index].to(device)
        logits = decoder.logits(learned_hidden(decoder(sheets, lora), sheets))
        right, refused = right_answers(logits.argmax(-1), sheets), refusals(sheets, first)
        begun = _begun(logits, sheets) == first
        total += torch.stack([
            nn.functional.cross_entropy(logits, sheets.targets, reduction="sum"), torch.tensor(len(sheets.targets), device=device),
            right[~refused].sum(), (~refused).sum(), begun[refused].sum(), refused.sum(),
        ]).float()  # fmt: skip
        total_wrong = begun[~refused].float().mean()
    loss, tokens, right, answered, refused, unanswerable = total.tolist()
    return {
        "dev_loss": loss / tokens,
        "exact": 100 * right / answered,
        "refused": 100 * refused / max(1, unanswerable),
        "refused_wrongly": 100 * float(total_wrong),
        "answers": answered,
    }


def _begun(logits: Tensor, sheets: Sheets) -> Tensor:
    """(answers) the likeliest first token."""
    asked = (sheets.answer >= 0).nonzero()[:, 0]
    answers = sheets.answer[asked]
    begins = torch.ones_like(answers, dtype=torch.bool)
    begins[1:] = answers[1:] != answers[:-1]
    return logits[asked[begins]].argmax(-1)


@torch.no_grad()
def look_at_beacon(decoder: Decoder, beacons: Beacons, teacher: Teacher, plan: Plan, count: int, device: str) -> dict[str, Any]:
    """For each ratio: loss a token asked, and per cent of the questions answered as they stand; uncondensed beside it."""
    found: dict[str, Any] = {}
    for ratio in RATIOS:
        data, total = BeaconBatches(teacher, plan, 1, ratio), torch.zeros(6, device=device)
        for index in range(count):
            condensed, plain = (sheets.to(device) for sheets in data[index])
            logits = decoder.logits(learned_hidden(decoder(condensed, None, beacons), condensed))
            full = decoder.logits(learned_hidden(decoder(plain), plain))
            asked = condensed.answer >= 0
            kept, before = right_answers(logits.argmax(-1), condensed), right_answers(full.argmax(-1), plain)
            total += torch.stack([
                nn.functional.cross_entropy(logits[asked], condensed.targets[asked], reduction="sum"),
                nn.functional.cross_entropy(full[asked], condensed.targets[asked], reduction="sum"),
                asked.sum(), kept.sum(), before.sum(), (kept * before).sum(),
            ]).float()  # fmt: skip
        loss, loss_full, tokens, right, right_full, both = total.tolist()
        found[str(ratio)] = {
            "loss": round(loss / tokens, 4), "loss_full": round(loss_full / tokens, 4), "right": right,
            "right_full": right_full, "kept": round(100 * both / max(1.0, right_full), 1),
        }  # fmt: skip
    return found


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
        reader_plan, beacon_plan = replace(reader_plan, rows=2, seconds=1), replace(beacon_plan, rows=2, seconds=1)
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
    print(json.dumps({"done": what, "seconds": round(time.monotonic() - began, 1), "peak_GiB": round(peak, 1)}), flush=True)


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
    weights = {"squad": 1.0} if options.size == "smoke" else LESSONS
    teacher = Teacher(layout, passages["train"], weights, books)
    held = Teacher(layout, passages["dev"], weights, [], replace(teacher.share, prose=0.0, spans=(0, 0), again=0.0))
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

"""Learning: steps with checkpoints, what is learned towards, and looks at what is held out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from beacon_cli.durable.files import sync_path
from beacon_cli.training.run_folder import packed, unpacked
from recipes.smollm2.batches import BeaconBatches, Plan
from recipes.smollm2.decoder import Beacons, Decoder, Lora
from recipes.smollm2.lessons import RATIOS, Teacher
from recipes.smollm2.sheets import Sheets

KEEP_EVERY = 100
# What is asked counts so many times what is read: there is less of it, and it needs the memory.
ASKED = 3
# Of the next batch: the loss, what is to be said of it, and the tokens in it.
Losses = Callable[[], tuple[Tensor, dict[str, Tensor], int]]


class Training:
    """Steps of one of the two; goes on from the checkpoint in `out`, if there is one."""

    def __init__(self, name: str, module: nn.Module, plan: Plan, out: Path) -> None:
        self.name, self.module, self.plan, self.out = name, module, plan, out
        self.optimizer = torch.optim.AdamW(
            module.parameters(), plan.rate, (0.9, 0.98), weight_decay=0.0, fused=True
        )  # fmt: skip
        self.step = self.used = 0
        self._checkpoint = out / f"{name}.checkpoint.safetensors"
        if self._checkpoint.exists():
            self._resume()

    def run(self, losses: Losses) -> Iterator[int]:
        """Train to the end, and keep a checkpoint now and then; yields the number of every step that is done."""
        began = time.monotonic()
        while self.step < self.plan.steps:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate()
            loss, said, used = losses()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            norm = nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self.used += used
            last = self.step == self.plan.steps
            if self.step % 10 == 0 or last:
                self.log(seconds=round(time.monotonic() - began, 1), norm=float(norm), tokens=self.used, **said)
            if self.step % KEEP_EVERY == 0 or last:
                self._keep()
            yield self.step

    def _rate(self) -> float:
        steps, plan = self.plan.steps, self.plan
        rising, falling = (self.step + 1) / plan.warmup, (steps - self.step) / max(1.0, plan.decay * steps)
        return plan.rate * min(1.0, rising, falling)

    def log(self, **figures: Any) -> None:
        """Add a line to the metrics, and print it; of a step that was repeated after a kill there are two."""
        line = {"what": self.name, "step": self.step, "of": self.plan.steps, **figures}
        text = json.dumps({k: round(float(v), 5) if isinstance(v, float | Tensor) else v for k, v in line.items()})
        print(text, flush=True)
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def _keep(self) -> None:
        """Write the checkpoint: the old one stays until the new one is whole."""
        weights = {f"{name}/weight": tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}
        new = self._checkpoint.with_suffix(".new")
        said = {"step": str(self.step), "used": str(self.used)}
        save_file(weights | packed(self.module, self.optimizer), new, said)
        sync_path(new)
        new.replace(self._checkpoint)

    def _resume(self) -> None:
        with safe_open(self._checkpoint, "pt") as file:
            said, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
        self.step, self.used = int(said["step"]), int(said["used"])
        weights = {name: tensors.pop(f"{name}/weight") for name in self.module.state_dict()}
        self.module.load_state_dict(weights)
        self.optimizer.load_state_dict(unpacked(tensors, self.module, self.optimizer))


def learned_hidden(hidden: Tensor, sheets: Sheets) -> Tensor:
    """(learned, hidden) of what tokens are predicted from."""
    return hidden.flatten(0, 1).index_select(0, sheets.places)


def right_answers(predicted: Tensor, sheets: Sheets) -> Tensor:
    """(answers) 1 where every token of the answer is the likeliest: greedily, it would be given as it stands."""
    asked = sheets.answer >= 0
    count = int(sheets.answer.max()) + 1
    right = torch.ones(count, device=predicted.device)
    return right.scatter_reduce(0, sheets.answer[asked], (predicted == sheets.targets)[asked].float(), "amin")


def reader_losses(decoder: Decoder, lora: Lora, source: Iterator[Sheets], device: str) -> Losses:
    """Makes the loss of the next batch."""

    def losses() -> tuple[Tensor, dict[str, Tensor], int]:
        sheets = next(source).to(device)
        logits = decoder.logits(learned_hidden(decoder(sheets, lora), sheets))
        loss = nn.functional.cross_entropy(logits, sheets.targets)
        return loss, {"loss": loss.detach()}, sheets.used

    return losses


def beacon_losses(decoder: Decoder, beacons: Beacons, source: Iterator[tuple[Sheets, Sheets]], device: str) -> Losses:
    """Makes the loss of the next batch: cross-entropy and divergence from the model that reads uncondensed."""

    def losses() -> tuple[Tensor, dict[str, Tensor], int]:
        condensed, plain = (sheets.to(device) for sheets in next(source))
        with torch.no_grad():
            target = decoder.logits(learned_hidden(decoder(plain), plain)).log_softmax(-1)
        predicted = decoder.logits(learned_hidden(decoder(condensed, None, beacons), condensed)).log_softmax(-1)
        asked = condensed.answer >= 0
        entropy = nn.functional.nll_loss(predicted, condensed.targets, reduction="none")
        divergence = (target.exp() * (target - predicted)).sum(-1)
        both = entropy + divergence
        loss = (ASKED * both[asked].sum() + both[~asked].sum()) / (ASKED * asked.sum() + (~asked).sum())
        with torch.no_grad():
            said = {
                "loss": loss.detach(),
                "asked": entropy[asked].mean(),
                "asked_kl": divergence[asked].mean(),
                "asked_plain": nn.functional.nll_loss(target[asked], condensed.targets[asked]),
                "read": entropy[~asked].mean(),
                "read_kl": divergence[~asked].mean(),
            }
        return loss, said, condensed.used

    return losses


@torch.no_grad()
def look_at_beacon(
    decoder: Decoder, beacons: Beacons, teacher: Teacher, plan: Plan, count: int, device: str
) -> dict[str, Any]:
    """For each ratio: loss a token asked, answers given as they stand; of the uncondensed ones, per cent kept."""
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

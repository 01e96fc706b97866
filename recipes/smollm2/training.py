"""The training loop: killed at any moment, it goes on from the last checkpoint as if nothing had happened."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from recipes.smollm2 import attention
from recipes.smollm2.adapter import adapter_tensors, load_adapter
from recipes.smollm2.rows import Row

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast is learned.

    Attributes:
        steps: of the whole run.
        rows: a step.
        rate: the learning rate between warming up and decaying.
        warmup: steps over which it rises.
        decay: share of the steps, at the end, over which it falls to zero in a straight line.
    """

    steps: int
    rows: int = 1
    rate: float = 1e-3
    warmup: int = 30
    decay: float = 0.35

    def rate_at(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        rising = (step + 1) / max(1, self.warmup)
        falling = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.rate * min(1.0, rising, falling)


def answer_loss(model: Any, row: Row) -> Tensor:
    """The sum, in nats, of the loss of a row's learned tokens; the vocabulary is computed at these places only."""
    with attention.within(row.masks):
        seen = model.model(input_ids=row.ids, position_ids=row.positions, use_cache=False)
    logits = model.lm_head(seen.last_hidden_state[0].index_select(0, row.places))
    return functional.cross_entropy(logits.float(), row.targets, reduction="sum")


class Trainer:
    """A model, its optimizer and how far they are.

    Args:
        row: makes row number n.
        out: folder of the checkpoint and of the metrics.
    """

    def __init__(self, model: Any, schedule: Schedule, row: Callable[[int], Row], out: Path) -> None:
        self.model, self.schedule, self.row, self.out = model, schedule, row, out
        self.step = self.tokens = 0
        self.seconds = 0.0
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, schedule.rate, (0.9, 0.98), weight_decay=0.0, fused=True)
        out.mkdir(parents=True, exist_ok=True)
        if (out / CHECKPOINT).exists():
            self._resume()

    def run(self, until: int | None = None, keep_every: int = 25) -> Iterator[int]:
        """Train to the end (or to step `until`) and keep a checkpoint now and then; yields after every step."""
        end = min(self.schedule.steps, until if until is not None else self.schedule.steps)
        while self.step < end:
            began = time.monotonic()
            loss, norm, tokens, learned = self._learn()
            took = time.monotonic() - began
            self.seconds += took
            self.step += 1
            self.tokens += tokens
            self.log(loss=loss / learned, norm=norm, learned=learned, speed=round(tokens / took))
            if self.step % keep_every == 0 or self.step == end:
                self.keep()
            yield self.step

    def _learn(self) -> tuple[float, float, int, int]:
        """One step: summed loss, norm of the gradient, tokens, learned tokens."""
        first = self.step * self.schedule.rows
        rows = [self.row(first + index) for index in range(self.schedule.rows)]
        learned = sum(len(row.targets) for row in rows)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        total = 0.0
        for row in rows:
            loss = answer_loss(self.model, row)
            (loss / learned).backward()  # type: ignore[no-untyped-call]  # untyped in torch
            total += loss.item()
        parameters = self.optimizer.param_groups[0]["params"]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True))
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total, norm, sum(row.used for row in rows), learned

    def log(self, **figures: Any) -> None:
        """Add a line to the metrics."""
        line = {"step": self.step, "tokens": self.tokens, "minutes": round(self.seconds / 60, 2), **figures}
        text = json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()})
        with (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def keep(self) -> None:
        """Write the checkpoint: the old one stays until the new one is whole."""
        tensors = dict(adapter_tensors(self.model))
        for moment in _MOMENTS:
            tensors |= {f"{moment}/{name}": tensor for name, tensor in self._moments(moment)}
        said = {"step": str(self.step), "tokens": str(self.tokens), "seconds": str(self.seconds)}
        path = self.out / CHECKPOINT
        new = path.with_suffix(".new")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new, said)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(path)

    def _moments(self, moment: str) -> Iterator[tuple[str, Tensor]]:
        state = self.optimizer.state
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        for parameter in self.optimizer.param_groups[0]["params"]:
            yield names[id(parameter)], state[parameter][moment]

    def _resume(self) -> None:
        with safe_open(self.out / CHECKPOINT, "pt") as file:
            said = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
        self.step, self.tokens, self.seconds = int(said["step"]), int(said["tokens"]), float(said["seconds"])
        load_adapter(self.model, {name: tensor for name, tensor in tensors.items() if "/" not in name})
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.step)),
                    **{moment: tensors[f"{moment}/{name}"] for moment in _MOMENTS},
                }
        metrics = self.out / METRICS
        if metrics.exists():
            lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
            metrics.write_text("".join(line for line in lines if json.loads(line)["step"] <= self.step), "utf-8")

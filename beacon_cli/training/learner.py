"""What a step learns: reading its texts, the gradients that come of it, and how good the beacon is by then."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from activation_beacon.objectives import Objectives, read_uncondensed, token_losses
from activation_beacon.planner import Pass
from activation_beacon.ratios import Fixed
from activation_beacon.training import (
    IGNORED,
    TextLoss,
    text_loss,
    training_chooser,
    training_labels,
    training_passes,
)
from beacon_cli.training.data import TrainingData
from beacon_cli.training.layouts import Example
from beacon_cli.training.preparation import Loaded, Prepared
from beacon_cli.training.schedule import ratio_generator, texts_of_step
from beacon_cli.training.settings import OBJECTIVES
from beacon_cli.training.workers import Workers


class DivergedError(Exception):
    """A number that is none, with what it is of and the texts that were read."""


@dataclass(frozen=True)
class StepOutcome:
    """Of one step, the same for all workers: means over its texts."""

    loss: float
    parts: dict[str, float]
    tokens: int
    norm: float


class Learner:
    """Reads texts with the beacon that is trained. Of several workers, each reads its share, and all know the sum."""

    def __init__(self, prepared: Prepared, loaded: Loaded, workers: Workers) -> None:
        self.attached, self.device = loaded.attached, loaded.device
        self._bfloat16, self._workers = loaded.bfloat16, workers
        self._settings, self._config, self._context = prepared.settings, prepared.info.config, prepared.base.context
        self._examples = prepared.data.examples
        self._objectives = Objectives(**dict.fromkeys(OBJECTIVES, 0.0) | self._settings.objectives())

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return list(self.attached.beacon.parameters())

    def gradients(self, step: int) -> StepOutcome:
        """Read the `batch` texts of a step, and leave the gradients of all.

        Raises:
            DivergedError: if the loss or the gradient is no number.
        """
        settings, workers, parameters = self._settings, self._workers, self.parameters
        self._forget_gradients()
        # Total loss, its parts, tokens; float64, so that one worker's sum is that of several.
        sums = torch.zeros(2 + len(OBJECTIVES), dtype=torch.float64, device=self.device)
        wrong: list[str] = []
        drawn = texts_of_step(step, settings.batch, len(self._examples), settings.seed)
        for number, index in drawn[workers.rank :: workers.size]:
            example = self._examples[index]
            loss = self._loss(example, number)
            if loss.total.isfinite():
                (loss.total / settings.batch).backward()  # type: ignore[no-untyped-call]  # untyped in torch
            else:
                wrong.append(example.where)
            zero = torch.zeros((), device=self.device)
            parts = [loss.parts.get(name, zero) for name in OBJECTIVES]
            sums += torch.stack(
                (*(p.double() for p in (loss.total.detach(), *parts)), zero.double() + len(example.ids))
            )
        workers.sum(sums)
        total, *means, tokens = sums.tolist()
        # All workers stop together, the one that read the text and those that wait for it.
        if not math.isfinite(total):
            raise DivergedError(f"the loss is {total} in step {step + 1}", ", ".join(wrong) or "another worker's text")
        for parameter in parameters:
            if parameter.grad is None:  # one that no text of this worker's share has used
                parameter.grad = torch.zeros_like(parameter)
            workers.sum(parameter.grad)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
        if not math.isfinite(norm):
            read = ", ".join(self._examples[index].where for _, index in drawn)
            raise DivergedError(f"the gradient is {norm} in step {step + 1}", read)
        has = self._objectives.has
        shown = {name: mean / settings.batch for name, mean in zip(OBJECTIVES, means, strict=True) if has(name)}
        return StepOutcome(total / settings.batch, shown, int(tokens), norm)

    @torch.no_grad()
    def validate(self, data: TrainingData, step: int) -> dict[str, float]:
        """Cross-entropy a token at every ratio, and ("full") of the model reading everything uncondensed.

        Raises:
            DivergedError: if one is no number.
        """
        ratios = sorted(set(self._config.usable_ratios))
        sums = torch.zeros(len(ratios) + 2, dtype=torch.float64, device=self.device)
        for example in data.examples[self._workers.rank :: self._workers.size]:
            ids, labels = self._tensors(example)
            learned = labels != IGNORED
            with self._autocast():
                last = read_uncondensed(self.attached, ids, learned).last
                sums[-2] += token_losses(self.attached, last, labels[learned])[0]
            sums[-1] += learned.sum()
            for index, ratio in enumerate(ratios):
                loss = self._read(example, training_passes(len(ids), self._config, Fixed(ratio)), Objectives())
                sums[index] += loss.parts["ar"] * loss.learned
        self._workers.sum(sums)
        *means, _ = (sums / sums[-1]).tolist()
        losses = dict(zip((*map(str, ratios), "full"), means, strict=True))
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise DivergedError(f"the validation loss after step {step} is {loss}", f"ratio {name}")
        return losses

    def check_weights(self, step: int) -> None:
        """See whether one can go on from the weights after so many steps, before they are saved as good ones.

        Raises:
            DivergedError: if one cannot.
        """
        ((number, index),) = texts_of_step(step, 1, len(self._examples), self._settings.seed)
        self._forget_gradients()
        loss = self._loss(self._examples[index], number).total
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        found = [loss, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)]
        if not all(tensor.isfinite().all() for tensor in found):
            what = f"with the weights after step {step} the loss or its gradient is no number"
            raise DivergedError(what, self._examples[index].where)

    def _loss(self, example: Example, number: int) -> TextLoss:
        rng, length = ratio_generator(self._settings.seed, number), len(example.ids)
        chooser = training_chooser(self._config, length, positions=self._context, rng=rng)
        return self._read(example, training_passes(length, self._config, chooser), self._objectives)

    def _read(self, example: Example, plans: list[Pass], objectives: Objectives) -> TextLoss:
        settings = self._settings
        ids, labels = self._tensors(example)
        lots = None if len(ids) <= settings.pass_tokens else max(1, settings.pass_tokens // self._config.stride)
        with self._autocast():
            return text_loss(
                self.attached, ids, labels, plans, objectives,
                intervals=lots, checkpoint_layers=settings.checkpoint_layers,
            )  # fmt: skip

    def _tensors(self, example: Example) -> tuple[Tensor, Tensor]:
        """(tokens) ids and labels, on the device."""
        ids = torch.from_numpy(example.ids).to(self.device, torch.int64)
        learned = torch.from_numpy(example.learned).to(self.device)
        return ids, training_labels(ids.masked_fill(~learned, IGNORED), self._config)

    def _autocast(self) -> Any:
        # Without its cache of cast weights: what is computed again in the backward pass would not find them.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16, cache_enabled=False)

    def _forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

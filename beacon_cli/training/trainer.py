"""`train`: from settings to a beacon, as a generator of events."""

import math
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
from beacon_cli.errors import TrainingError
from beacon_cli.events import Event, Note, Stage
from beacon_cli.training.data import TrainingData
from beacon_cli.training.events import Saved, Trained, TrainingBegun, TrainingEvent, TrainStep, Validated
from beacon_cli.training.layouts import Sample
from beacon_cli.training.metrics import Metrics
from beacon_cli.training.preparation import Prepared, load, prepare
from beacon_cli.training.run_folder import Progress, RunFolder
from beacon_cli.training.schedule import learning_rate, ratio_generator, texts_of_step
from beacon_cli.training.settings import TrainSettings
from beacon_cli.training.workers import Workers

BETAS = (0.9, 0.95)
PARTS = ("ar", "distill", "hidden")


def train(settings: TrainSettings, out: Path, *, fresh: bool = False) -> Generator[Event | TrainingEvent, None, None]:
    """Train a beacon in the folder `out`; goes on where an earlier run of the same settings was; ends with `Trained`.

    Interrupted or closed, it saves its last step. Of several workers, only the first yields.

    Args:
        fresh: start over.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    workers = Workers.join()
    try:
        for event in _train(settings, out, fresh, workers):
            if workers.rank == 0:
                yield event
    finally:
        workers.leave()


def _train(
    settings: TrainSettings, out: Path, fresh: bool, workers: Workers
) -> Generator[Event | TrainingEvent, None, None]:
    prepared = yield from prepare(settings)
    folder = RunFolder(out, prepared.settings, prepared.subject, prepared.info)
    if workers.rank:
        workers.wait()
        yield from _Run(prepared, folder, workers).go()
        return
    with folder.locked():
        folder.prepare(fresh=fresh)
        workers.wait()
        yield from _Run(prepared, folder, workers).go()


@dataclass(frozen=True)
class _Outcome:
    """Of one step, the same for all workers: means over its texts."""

    loss: float
    parts: dict[str, float]
    tokens: int
    norm: float


class _Run:
    """One run in progress."""

    def __init__(self, prepared: Prepared, folder: RunFolder, workers: Workers) -> None:
        self.prepared, self.folder, self.workers = prepared, folder, workers
        self.settings, self.config = prepared.settings, prepared.info.config
        self.metrics = Metrics(folder.folder)
        self.objectives = Objectives(**dict.fromkeys(PARTS, 0.0) | self.settings.objectives())

    def go(self) -> Generator[Event | TrainingEvent, None, None]:
        settings, steps = self.settings, self.prepared.steps
        yield Stage(f"loading {self.prepared.base.name}")
        loaded = load(self.prepared)
        self.attached, self.device, self.bfloat16 = loaded.attached, loaded.device, loaded.bfloat16
        if loaded.note:
            yield Note(loaded.note)
        beacon = self.attached.beacon
        self.optimizer = torch.optim.AdamW(
            beacon.parameters(), lr=settings.lr, betas=BETAS, weight_decay=settings.weight_decay,
            fused=self.device.type == "cuda",
        )  # fmt: skip
        self.progress = self.folder.load(beacon, self.optimizer)
        self.saved = self.progress.step
        data = self.prepared.data
        count = sum(parameter.numel() for parameter in beacon.parameters())
        yield TrainingBegun(self.prepared.base.name, count, len(data.samples), data.tokens, self.progress.step, steps)
        self.metrics.go_on_from(self.progress.step, write=self.workers.rank == 0)
        try:
            yield from self._steps(steps)
        except (KeyboardInterrupt, GeneratorExit):
            if self.workers.rank == 0 and self.progress.step > self.saved:
                self._check_weights()
                with uninterrupted():
                    self._save()
            raise
        if self.workers.rank == 0 and not self.metrics.plot():
            yield Note("loss.png is not drawn without matplotlib: pip install 'beacon-cli[plots]'")
        done = self.progress
        yield Trained(self.folder.folder, done.step, done.loss, done.tokens, done.seconds)

    def _steps(self, steps: int) -> Generator[Event | TrainingEvent, None, None]:
        settings, first, spent = self.settings, self.progress, 0.0
        # An interrupt may have come between a step and its validation.
        if (data := self._due(first.step, steps)) and not self.metrics.validated(first.step):
            yield self._validate(data)
        for step in range(first.step, steps):
            rate = learning_rate(step, steps, self.prepared.warmup, settings.lr)
            began = time.monotonic()
            outcome = self._gradients(step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with uninterrupted():  # what is saved when Ctrl-C comes must be one step's weights and figures
                self.optimizer.step()
                spent += time.monotonic() - began
                tokens = self.progress.tokens + outcome.tokens
                speed = (tokens - first.tokens) / spent
                self.progress = Progress(step + 1, tokens, first.seconds + spent, outcome.loss)
                self._record(
                    loss=outcome.loss, **outcome.parts, rate=rate, norm=outcome.norm, tokens=tokens,
                    tokens_per_second=round(speed, 1),
                )  # fmt: skip
            left = (steps - step - 1) * spent / (step + 1 - first.step)
            yield TrainStep(step + 1, steps, outcome.loss, outcome.parts, rate, speed, left)
            if data := self._due(step + 1, steps):
                yield self._validate(data)
            if (step + 1) % settings.save_every == 0 or step + 1 == steps:
                self._check_weights()
                if self.workers.rank == 0:
                    with uninterrupted():
                        saved = self._save()
                    yield saved

    def _due(self, step: int, steps: int) -> TrainingData | None:
        """What is validated on after so many of the steps."""
        return self.prepared.validation if step % self.settings.eval_every == 0 or step == steps else None

    def _gradients(self, step: int) -> _Outcome:
        """Read the `batch` texts of a step, of which this worker takes its share, and leave the gradients of all."""
        settings, samples = self.settings, self.prepared.data.samples
        parameters = list(self.attached.beacon.parameters())
        self.optimizer.zero_grad(set_to_none=True)
        # Total loss, its parts, tokens; float64, so that one worker's sum is that of several.
        sums = torch.zeros(2 + len(PARTS), dtype=torch.float64, device=self.device)
        wrong: list[str] = []
        drawn = texts_of_step(step, settings.batch, len(samples), settings.seed)
        for number, index in drawn[self.workers.rank :: self.workers.size]:
            sample = samples[index]
            loss = self._loss(sample, number)
            if loss.total.isfinite():
                (loss.total / settings.batch).backward()  # type: ignore[no-untyped-call]  # untyped in torch
            else:
                wrong.append(sample.where)
            zero = torch.zeros((), device=self.device)
            parts = [loss.parts.get(name, zero) for name in PARTS]
            sums += torch.stack((*(p.double() for p in (loss.total.detach(), *parts)), zero.double() + len(sample.ids)))
        self.workers.sum(sums)
        total, *means, tokens = sums.tolist()
        # All workers stop together, the one that read the text and those that wait for it.
        if not math.isfinite(total):
            raise self._diverged(f"the loss is {total} in step {step + 1}", ", ".join(wrong) or "another worker's text")
        for parameter in parameters:
            if parameter.grad is None:  # one that no text of this worker's share has used
                parameter.grad = torch.zeros_like(parameter)
            self.workers.sum(parameter.grad)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
        if not math.isfinite(norm):
            read = ", ".join(samples[index].where for _, index in drawn)
            raise self._diverged(f"the gradient is {norm} in step {step + 1}", read)
        shown = {
            name: mean / settings.batch for name, mean in zip(PARTS, means, strict=True) if self.objectives.has(name)
        }
        return _Outcome(total / settings.batch, shown, int(tokens), norm)

    def _loss(self, sample: Sample, number: int) -> TextLoss:
        chooser = training_chooser(
            self.config,
            len(sample.ids),
            positions=self.prepared.base.context,
            rng=ratio_generator(self.settings.seed, number),
        )
        return self._read(sample, training_passes(len(sample.ids), self.config, chooser), self.objectives)

    def _read(self, sample: Sample, plans: list[Pass], objectives: Objectives) -> TextLoss:
        settings = self.settings
        ids, labels = self._tensors(sample)
        lots = None if len(ids) <= settings.pass_tokens else max(1, settings.pass_tokens // self.config.stride)
        with self._autocast():
            return text_loss(
                self.attached, ids, labels, plans, objectives,
                intervals=lots, checkpoint_layers=settings.checkpoint_layers,
            )  # fmt: skip

    def _tensors(self, sample: Sample) -> tuple[Tensor, Tensor]:
        ids = torch.from_numpy(sample.ids).to(self.device, torch.int64)
        learned = torch.from_numpy(sample.learned).to(self.device)
        return ids, training_labels(ids.masked_fill(~learned, IGNORED), self.config)

    def _autocast(self) -> Any:
        # Without its cache of cast weights: what is computed again in the backward pass would not find them.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False)

    @torch.no_grad()
    def _validate(self, data: TrainingData) -> Validated:
        """Cross-entropy a token at every ratio, and of the model reading everything uncondensed."""
        ratios = sorted(set(self.config.usable_ratios))
        sums = torch.zeros(len(ratios) + 2, dtype=torch.float64, device=self.device)
        for sample in data.samples[self.workers.rank :: self.workers.size]:
            ids, labels = self._tensors(sample)
            learned = labels != IGNORED
            with self._autocast():
                last = read_uncondensed(self.attached, ids, learned).last
                sums[-2] += token_losses(self.attached, last, labels[learned])[0]
            sums[-1] += learned.sum()
            for index, ratio in enumerate(ratios):
                passes = training_passes(len(ids), self.config, Fixed(ratio))
                loss = self._read(sample, passes, Objectives())
                sums[index] += loss.parts["ar"] * loss.learned
        self.workers.sum(sums)
        *means, _ = (sums / sums[-1]).tolist()
        losses = dict(zip((*map(str, ratios), "full"), means, strict=True))
        if wrong := [name for name, loss in losses.items() if not math.isfinite(loss)]:
            what = f"the validation loss after step {self.progress.step} is {losses[wrong[0]]}"
            raise self._diverged(what, f"ratio {wrong[0]}")
        self._record(validation=losses)
        return Validated(self.progress.step, losses)

    def _record(self, **figures: Any) -> None:
        if self.workers.rank == 0:
            self.metrics.add({"step": self.progress.step, **figures})

    def _save(self) -> Saved:
        folder = self.folder.save(self.attached.beacon, self.optimizer, self.progress)
        self.saved = self.progress.step
        self.metrics.plot()
        return Saved(self.progress.step, folder)

    def _check_weights(self) -> None:
        """See whether one can go on from them, before they are saved as a good checkpoint.

        Raises:
            TrainingError: if one cannot.
        """
        done, samples = self.progress.step, self.prepared.data.samples
        ((number, index),) = texts_of_step(done, 1, len(samples), self.settings.seed)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(samples[index], number).total
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        found = [loss, *(p.grad for p in self.attached.beacon.parameters() if p.grad is not None)]
        if not all(tensor.isfinite().all() for tensor in found):
            what = f"with the weights after step {done} the loss or its gradient is no number"
            raise self._diverged(what, samples[index].where)

    def _diverged(self, what: str, where: str) -> TrainingError:
        latest, lower = self.folder.latest(), f"a lower --lr ({self.settings.lr:g} now)"
        good = f"start from the last good checkpoint with --init {latest}, another --out and {lower}"
        return TrainingError(f"{what} ({where}): {good if latest else f'give {lower}'}, or look at that text")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pending:
        signal.raise_signal(signal.SIGINT)

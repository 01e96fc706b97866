"""`train`: from settings to a beacon."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from beacon_cli.errors import TrainingError
from beacon_cli.events import Event, Note, Stage, silent
from beacon_cli.training.data import TrainingData
from beacon_cli.training.events import (
    Reached,
    Saved,
    TrainingBegun,
    TrainingEvent,
    TrainingProgress,
    TrainStep,
    Validated,
)
from beacon_cli.training.learner import DivergedError, Learner, StepOutcome
from beacon_cli.training.metrics import Metrics
from beacon_cli.training.preparation import Prepared, load, prepare
from beacon_cli.training.run_folder import RunFolder
from beacon_cli.training.schedule import learning_rate
from beacon_cli.training.settings import TrainSettings
from beacon_cli.training.workers import Workers

BETAS = (0.9, 0.95)


def train(settings: TrainSettings, out: Path, *, fresh: bool = False, progress: TrainingProgress = silent) -> Reached:
    """Train a beacon in the folder `out`; goes on where an earlier run of the same settings was; returns what is done.

    Interrupted, or left by an error of `progress`, it saves its last step.

    Args:
        fresh: start over.
        progress: hears how it goes; of several workers, only the first one's.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    workers = Workers.join()
    try:
        heard = silent if workers.rank else progress
        prepared = prepare(settings, heard)
        folder = RunFolder(out, prepared.settings, prepared.subject, prepared.info)
        with nullcontext() if workers.rank else folder.locked():
            if not workers.rank:
                folder.prepare(fresh=fresh)
            workers.wait()
            return _Run(prepared, folder, workers, heard).go()
    finally:
        workers.leave()


class _Run:
    """One run in progress."""

    def __init__(self, prepared: Prepared, folder: RunFolder, workers: Workers, progress: TrainingProgress) -> None:
        self.prepared, self.settings, self.folder, self.workers = prepared, prepared.settings, folder, workers
        self.metrics = Metrics(folder.folder)
        self.done = folder.reached()
        self.saved = self.done.step
        self._progress, self._unheard = progress, False

    def go(self) -> Reached:
        self.metrics.go_on_from(self.done.step, write=self.workers.rank == 0)
        if self.done.step >= self.prepared.steps and not self._due():
            self._tell(
                Note(
                    f"all {self.done.step:,} steps are done; to train its beacon further, give --init "
                    f"{self.folder.folder} and another --out; to train it anew, --fresh"
                )
            )
            return self.done
        self._load()
        try:
            self._steps()
        except DivergedError as error:
            raise self._diverged(*error.args) from None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or self._unheard:
                self._keep_last_step()
            raise
        if self.workers.rank == 0 and not self.metrics.plot():
            self._tell(Note("loss.png is not drawn without matplotlib: pip install 'beacon-cli[plots]'"))
        return self.done

    def _load(self) -> None:
        self._tell(Stage(f"loading {self.prepared.base.name}"))
        loaded = load(self.prepared)
        if loaded.note:
            self._tell(Note(loaded.note))
        self.learner = Learner(self.prepared, loaded, self.workers)
        parameters = self.learner.parameters
        self.optimizer = torch.optim.AdamW(
            parameters, lr=self.settings.lr, betas=BETAS, weight_decay=self.settings.weight_decay,
            fused=loaded.device.type == "cuda",
        )  # fmt: skip
        self.folder.load(loaded.attached.beacon, self.optimizer)
        data, count = self.prepared.data, sum(parameter.numel() for parameter in parameters)
        self._tell(
            TrainingBegun(
                self.prepared.base.name, count, len(data.examples), data.tokens, self.done.step, self.prepared.steps
            )
        )

    def _steps(self) -> None:
        steps, first = self.prepared.steps, self.done
        # An interrupt may have come between a step and its validation.
        if data := self._due():
            self._validate(data)
        for step in range(first.step, steps):
            rate = learning_rate(step, steps, self.prepared.warmup, self.settings.lr)
            began = time.monotonic()
            outcome = self.learner.gradients(step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with uninterrupted():  # what is saved when Ctrl-C comes must be one step's weights and figures
                self.optimizer.step()
                self._step_done(outcome, rate, time.monotonic() - began, first)
            spent = self.done.seconds - first.seconds
            self._tell(
                TrainStep(
                    step + 1, steps, outcome.loss, outcome.parts, rate, (self.done.tokens - first.tokens) / spent,
                    (steps - step - 1) * spent / (step + 1 - first.step),
                )
            )  # fmt: skip
            if data := self._due():
                self._validate(data)
            if (step + 1) % self.settings.save_every == 0 or step + 1 == steps:
                self.learner.check_weights(step + 1)
                if self.workers.rank == 0:
                    self._tell(Saved(step + 1, self._save()))

    def _step_done(self, outcome: StepOutcome, rate: float, seconds: float, first: Reached) -> None:
        done = self.done
        self.done = Reached(done.step + 1, done.tokens + outcome.tokens, done.seconds + seconds, outcome.loss)
        speed = (self.done.tokens - first.tokens) / (self.done.seconds - first.seconds)
        self._record(
            loss=outcome.loss, **outcome.parts, rate=rate, norm=outcome.norm, tokens=self.done.tokens,
            tokens_per_second=round(speed, 1),
        )  # fmt: skip

    def _due(self) -> TrainingData | None:
        """What is validated on after the last step, and has not been yet."""
        step = self.done.step
        due = step % self.settings.eval_every == 0 or step == self.prepared.steps
        return self.prepared.validation if due and not self.metrics.validated(step) else None

    def _validate(self, data: TrainingData) -> None:
        losses = self.learner.validate(data, self.done.step)
        self._record(validation=losses)
        self._tell(Validated(self.done.step, losses))

    def _record(self, **figures: Any) -> None:
        if self.workers.rank == 0:
            self.metrics.add({"step": self.done.step, **figures})

    def _save(self) -> Path:
        with uninterrupted():
            saved = self.folder.save(self.learner.attached.beacon, self.optimizer, self.done)
            self.saved = self.done.step
            self.metrics.plot()
        return saved

    def _keep_last_step(self) -> None:
        if self.workers.rank == 0 and self.done.step > self.saved:
            try:
                self.learner.check_weights(self.done.step)
            except DivergedError as error:
                raise self._diverged(*error.args) from None
            self._save()

    def _tell(self, event: Event | TrainingEvent) -> None:
        self._unheard = True
        self._progress(event)
        self._unheard = False

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

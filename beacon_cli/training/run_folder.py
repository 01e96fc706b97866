"""The folder of a training run: the beacon, its checkpoints with all that is needed to go on, and who may write there.

A checkpoint is written under another name, made durable and renamed: whatever kills the run, those that are there are
whole. Nothing is pickled.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from activation_beacon.checkpoint import BeaconInfo, save_info
from activation_beacon.files import CONFIG_FILE, WEIGHTS_FILE
from activation_beacon.plugin import Beacon
from beacon_cli.durable.files import sync_path
from beacon_cli.durable.lines import replace_text
from beacon_cli.durable.locks import acquire, builders
from beacon_cli.errors import TrainingError
from beacon_cli.training.events import Reached
from beacon_cli.training.metrics import METRICS_FILE, PLOT_FILE, writing
from beacon_cli.training.settings import TrainSettings, differences

SETTINGS_FILE = "train.toml"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
FORMAT_VERSION = 1


class RunFolder:
    """Where one run keeps everything.

    Args:
        folder: is created.
        settings: with all open choices made.
        subject: what else must be the same for the run to go on, by name: fingerprints.
        info: what every checkpoint's `beacon_config.json` says.
    """

    def __init__(self, folder: Path, settings: TrainSettings, subject: Mapping[str, str], info: BeaconInfo) -> None:
        self.folder, self.settings, self.subject, self.info = folder, settings, dict(subject), info
        self._checkpoints = folder / "checkpoints"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out.

        Raises:
            TrainingError: if one is there, or the folder cannot be written.
        """
        with writing(self.folder):
            self._checkpoints.mkdir(parents=True, exist_ok=True)
        lock = builders(self.folder / ".lock")
        if not acquire(lock, wait=False):
            raise TrainingError(f"another process is training in {self.folder}; wait, or give another --out")
        try:
            yield
        finally:
            lock.release()

    def prepare(self, *, fresh: bool) -> None:
        """Make sure that the run may go on here, or begin. Call it with the lock.

        Args:
            fresh: forget what an earlier run has left.

        Raises:
            TrainingError: if the folder is of another run, or has a beacon that was not trained here.
        """
        if fresh:
            self._forget()
        latest = self.latest()
        ours = (self.folder / SETTINGS_FILE).exists()
        if not ours and (self.folder / WEIGHTS_FILE).exists():
            raise TrainingError(f"{self.folder} holds a beacon without a run that made it; give another --out")
        if latest is not None:
            self._check(latest)
        with writing(self.folder / SETTINGS_FILE):
            replace_text(self.folder / SETTINGS_FILE, self.settings.to_toml())

    def _forget(self) -> None:
        if (self.folder / SETTINGS_FILE).exists():
            shutil.rmtree(self._checkpoints, ignore_errors=True)
            for name in (WEIGHTS_FILE, CONFIG_FILE, METRICS_FILE, PLOT_FILE, SETTINGS_FILE):
                (self.folder / name).unlink(missing_ok=True)
        self._checkpoints.mkdir(exist_ok=True)

    def latest(self) -> Path | None:
        """The newest checkpoint."""
        found = self._steps()
        return found[-1] if found else None

    def _steps(self) -> list[Path]:
        found = [path for path in self._checkpoints.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))

    def reached(self) -> Reached:
        """How far the newest checkpoint is.

        Raises:
            TrainingError: if it is damaged.
        """
        latest = self.latest()
        return Reached() if latest is None else Reached(**self._state(latest)["progress"])

    def load(self, beacon: Beacon, optimizer: torch.optim.Optimizer) -> None:
        """Set both to the newest checkpoint, if there is one.

        Raises:
            TrainingError: if it is damaged.
        """
        latest = self.latest()
        if latest is None:
            return
        try:
            beacon.load_state_dict(load_file(latest / WEIGHTS_FILE))
            moments = load_file(latest / OPTIMIZER_FILE)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise _damaged(latest, error) from error
        optimizer.load_state_dict(unpacked(moments, beacon, optimizer))

    def save(self, beacon: Beacon, optimizer: torch.optim.Optimizer, reached: Reached) -> Path:
        """Write a checkpoint and the beacon itself (in bfloat16); returns the checkpoint's folder.

        Raises:
            TrainingError: if the disk does not take it; all older checkpoints are as they were.
        """
        target = self._checkpoints / f"step-{reached.step:06d}"
        temporary = self._checkpoints / ".tmp"
        state = {
            "format_version": FORMAT_VERSION,
            "settings": asdict(self.settings),
            "subject": self.subject,
            "progress": asdict(reached),
        }
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in beacon.state_dict().items()}
        with writing(target):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            save_info(temporary, self.info)
            save_file(weights, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
            save_file(packed(beacon, optimizer), temporary / OPTIMIZER_FILE)
            (temporary / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
            for path in temporary.iterdir():
                sync_path(path)
            sync_path(temporary)
            # First, so that it is there whenever the last checkpoint is.
            self._publish({name: tensor.bfloat16() for name, tensor in weights.items()})
            temporary.rename(target)
            sync_path(self._checkpoints)
        for old in self._steps()[: -self.settings.keep]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def _publish(self, weights: dict[str, torch.Tensor]) -> None:
        temporary = self._checkpoints / ".published"
        temporary.mkdir(exist_ok=True)
        save_info(temporary, self.info)
        save_file(weights, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            sync_path(temporary / name)
            (temporary / name).replace(self.folder / name)
        temporary.rmdir()

    def _check(self, latest: Path) -> None:
        state = self._state(latest)
        other = differences(state["settings"], self.settings)
        other += [f"another {name}" for name, value in self.subject.items() if state["subject"].get(name) != value]
        if other:
            raise TrainingError(
                f"{self.folder} holds a run with other settings ({'; '.join(other)}): give those to go on, another "
                "--out, or --fresh to forget it"
            )

    def _state(self, checkpoint: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
            if state["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format version {state['format_version']!r}")
            return {name: state[name] for name in ("settings", "subject", "progress")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(checkpoint, error) from error


def packed(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What AdamW remembers of every parameter, by the parameter's name."""
    return {
        f"{name}/{part}": value.detach().cpu().contiguous()
        for name, parameter in module.named_parameters()
        for part, value in optimizer.state.get(parameter, {}).items()
    }


def unpacked(
    moments: Mapping[str, torch.Tensor], module: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """What `packed` made, as the optimizer takes it."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    numbers = {name: index for index, (name, _) in enumerate(module.named_parameters())}
    for name, value in moments.items():
        parameter, _, part = name.rpartition("/")
        state.setdefault(numbers[parameter], {})[part] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _damaged(checkpoint: Path, error: Exception) -> TrainingError:
    return TrainingError(f"{checkpoint} is damaged ({error}): delete it to go on from the one before, or give --fresh")

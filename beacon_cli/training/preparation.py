"""What training needs before its first step: everything that can be refused early, then what is heavy to load."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from activation_beacon import Attached, attach
from activation_beacon.checkpoint import BeaconInfo, load_beacon, read_info
from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon
from activation_beacon.ratios import Fixed
from activation_beacon.training import training_passes
from beacon_cli.cache.store import default_root
from beacon_cli.checkpoints.adapter import stored_bits
from beacon_cli.checkpoints.convert.four_bit import matrix
from beacon_cli.checkpoints.engine import load_base
from beacon_cli.checkpoints.hub.repository import resolve_model
from beacon_cli.checkpoints.model_source import BaseSource, locate_base
from beacon_cli.errors import TrainingError
from beacon_cli.events import Note, Progress, Stage, silent
from beacon_cli.training.data import Lengths, TrainingData, read_data
from beacon_cli.training.layouts import Layouts
from beacon_cli.training.settings import COPY, TrainSettings

WINDOWS = 8
WARMUP = 0.05
# Texts that are skipped and named.
SHOWN = 10


@dataclass(frozen=True)
class Prepared:
    """What is to be done.

    Attributes:
        settings: with all open choices made.
        start: the folder of the beacon to start from; None copies the base model's projections.
        info: of the beacon that is trained.
        validation: None where there is none.
        steps, warmup: in all.
    """

    settings: TrainSettings
    base: BaseSource
    start: Path | None
    info: BeaconInfo
    data: TrainingData
    validation: TrainingData | None
    steps: int
    warmup: int

    @property
    def subject(self) -> dict[str, str]:
        """What a run must have in common with one that it goes on with, beside the settings."""
        return {"base model": self.base.base_fingerprint, "training data": self.data.checksum}


@dataclass(frozen=True)
class Loaded:
    """What is trained, where, and whether in bfloat16 (the beacon itself always is in float32)."""

    attached: Attached
    device: torch.device
    bfloat16: bool
    note: str


def prepare(settings: TrainSettings, progress: Progress = silent) -> Prepared:
    """Find the model and read the data.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    base = locate_base(settings.model, default_root(), progress=progress)
    start, known = _starting_point(settings, base, progress)
    config = settings.beacon_config(None if known is None else known.config)
    if start is not None and known is not None and set(known.config.param) != set(config.param):
        raise TrainingError(
            f"the beacon {settings.init} has projections {','.join(known.config.param)}, not {','.join(config.param)}: "
            "leave --train out, or start with --init copy"
        )
    max_tokens = settings.max_tokens or min(WINDOWS * config.window, base.context)
    lengths = Lengths.of(config, max_tokens)
    _check_context(config, lengths, base, teacher=settings.objectives().keys() != {"ar"})
    if unused := sorted(set(config.ratios) - set(config.usable_ratios)):
        progress(
            Note(f"ratios that do not divide the stride {config.stride} are left out: {', '.join(map(str, unused))}")
        )
    if config.stride != config.window:
        progress(Note("no command takes a beacon whose stride is not its window yet: this one is for comparisons only"))
    progress(Stage("reading the training data"))
    layouts = Layouts(base.tokenizer)

    def read(paths: Sequence[str]) -> TrainingData:
        data = read_data(paths, layouts, lengths, pack=settings.pack, skip_bad=settings.skip_bad)
        _remark(data, progress)
        return data

    data = read(settings.data)
    validation = read(settings.eval_data) if settings.eval_data else None
    steps = settings.steps or math.ceil(settings.epochs * len(data.examples) / settings.batch)
    warmup = math.ceil(WARMUP * steps) if settings.warmup is None else settings.warmup
    settings = replace(settings, max_tokens=max_tokens, steps=steps, warmup=warmup, **asdict(config))
    info = BeaconInfo(config, base.name, base.base_fingerprint, None if known is None else known.rope_scaling)
    return Prepared(settings, base, start, info, data, validation, steps, warmup)


def load(prepared: Prepared) -> Loaded:
    """Load the base model, and install the beacon as it is at the first step.

    Raises:
        BeaconError: if that cannot be.
    """
    settings = prepared.settings
    base = load_base(prepared.base, settings.device, bits=settings.bits)
    config = prepared.info.config
    if prepared.start is None:
        beacon = Beacon.like(config, base.model)
        ends = prepared.base.tokenizer.eos_ids
        beacon.copy_base(base.model, token=min(ends) if ends else 0, matrix=matrix)
        beacon.to(base.device)
    else:
        beacon = load_beacon(prepared.start, base.model, dtype=torch.float32, device=base.device)
        beacon.config = config
    attached = attach(base.model, beacon.requires_grad_(True), rope_scaling=prepared.info.rope_scaling)
    bfloat16 = settings.precision == "bfloat16" or (settings.precision == "auto" and _fast_bfloat16(base.device))
    return Loaded(attached, base.device, bfloat16, base.note)


def _starting_point(
    settings: TrainSettings, base: BaseSource, progress: Progress
) -> tuple[Path | None, BeaconInfo | None]:
    """The beacon to start from, and the one that gives the settings that the user leaves open."""
    if settings.init == COPY:
        return None, None if base.beacon_folder is None else read_info(base.beacon_folder)
    folder = resolve_model(settings.init, kind="beacon", progress=progress)
    info = read_info(folder)
    if info.base_fingerprint != base.base_fingerprint:
        raise TrainingError(
            f"the beacon {settings.init} belongs to {info.base_name} ({info.base_fingerprint[:12]}), but "
            f"{base.name} is {base.base_fingerprint[:12]}: give the model it was trained for with --model, or "
            "start with --init copy"
        )
    if stored_bits(folder) == 4:
        raise TrainingError(f"the beacon {settings.init} is stored in 4 bits: start from one in 16, or --init copy")
    return folder, info


def _check_context(config: BeaconConfig, lengths: Lengths, base: BaseSource, *, teacher: bool) -> None:
    """Whether the longest text fits the model's positions even where it is condensed least."""
    passes = training_passes(lengths.max_tokens, config, Fixed(min(config.usable_ratios)))
    needed = 1 + max(entry.position for plan in passes for entry in plan.entries)
    if teacher:
        needed = max(needed, lengths.max_tokens)
    if needed > base.context:
        raise TrainingError(
            f"texts of {lengths.max_tokens:,} tokens can take {needed:,} positions, and {base.name} has "
            f"{base.context:,}: lower --max-tokens"
        )


def _remark(data: TrainingData, progress: Progress) -> None:
    for bad in data.bad[:SHOWN]:
        progress(Note(f"skipped: {bad}"))
    if len(data.bad) > SHOWN:
        progress(Note(f"skipped: {len(data.bad) - SHOWN:,} more, {len(data.bad):,} texts in all"))
    if data.dropped:
        progress(Note(f"{data.dropped:,} tokens at the end of texts are too few to learn from"))


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without such tiles, products in bfloat16 are many times slower than in float32.
    return bool(torch.cpu._is_amx_tile_supported())

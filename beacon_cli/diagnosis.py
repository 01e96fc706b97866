"""What there is to work with, and what is wrong with it: versions, device, memory, cache, models."""

import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch

from beacon_cli.cache.store import Store, default_root
from beacon_cli.checkpoints.inventory import known_models
from beacon_cli.checkpoints.local.converted import models_root
from beacon_cli.checkpoints.memory import free_memory
from beacon_cli.errors import BeaconError
from beacon_cli.quantities import format_size
from beacon_cli.settings import config_path, load_settings, unknown_variables
from beacon_cli.version import __version__

_PACKAGES = ("torch", "transformers", "bitsandbytes", "bm25s", "pypdfium2", "tokenizers")
_EXTRAS = {"formats": ("lxml", "selectolax"), "serve": ("starlette", "uvicorn"), "plots": ("matplotlib",)}
LEAST_MEMORY, LEAST_DISK = 10**9, 10**9
_SIZE, _SECONDS = 512, 0.1


@dataclass
class Diagnosis:
    """What was found.

    Attributes:
        facts: by subject, as JSON has them.
        problems: one line each: what is wrong, and what to do.
    """

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def diagnose() -> Diagnosis:
    """Look at everything; nothing is changed, fetched or loaded."""
    found = Diagnosis()
    for name, look in (
        ("versions", _versions), ("device", _device), ("memory", _memory), ("settings", _settings), ("cache", _cache),
        ("models", _models),
    ):  # fmt: skip
        try:
            found.facts[name] = look(found.problems)
        except (BeaconError, OSError) as error:
            found.facts[name] = {}
            advice = f"{name}: {error}; check the permissions"
            found.problems.append(str(error) if isinstance(error, BeaconError) else advice)
    return found


def _versions(problems: list[str]) -> dict[str, Any]:
    extras = {extra: all(map(_version, packages)) for extra, packages in _EXTRAS.items()}
    return {
        "beacon": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **{package: _version(package) for package in _PACKAGES},
        "extras": [extra for extra, there in extras.items() if there],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(problems: list[str]) -> dict[str, Any]:
    """The device that is used, and what it does fast: products of matrices, in billions of operations a second."""
    cuda = torch.cuda.is_available()
    if not cuda and torch.version.cuda is None and os.path.exists("/proc/driver/nvidia/version"):
        problems.append("there is an NVIDIA driver, but torch is built without CUDA; install torch's CUDA build")
    device = torch.device("cuda" if cuda else "cpu")
    facts: dict[str, Any] = {
        "device": str(device),
        "name": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    for kind in (torch.float32, torch.bfloat16):
        facts[f"gflops_{str(kind).removeprefix('torch.')}"] = round(_speed(device, kind), 1)
    return facts


@torch.inference_mode()
def _speed(device: torch.device, kind: torch.dtype) -> float:
    matrix = torch.ones(_SIZE, _SIZE, device=device, dtype=kind)
    float((matrix @ matrix)[0, 0])  # what is done once, and not counted
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        float((matrix @ matrix)[0, 0])
        times += 1
    return 2 * _SIZE**3 * times / (time.perf_counter() - began) / 1e9


def _memory(problems: list[str]) -> dict[str, Any]:
    free = free_memory()
    if free < LEAST_MEMORY:
        problems.append(f"only {format_size(free)} of memory are free; close other programs, or take a smaller model")
    facts: dict[str, Any] = {"total": psutil.virtual_memory().total, "free": free}
    if torch.cuda.is_available():
        facts["cuda_free"], facts["cuda_total"] = torch.cuda.mem_get_info()
    return facts


def _settings(problems: list[str]) -> dict[str, Any]:
    problems += unknown_variables()
    return {"file": str(config_path()), "model": load_settings({}).model}


def _cache(problems: list[str]) -> dict[str, Any]:
    root = default_root()
    there = next(path for path in (root, *root.parents) if path.exists())
    free = psutil.disk_usage(str(there)).free
    if free < LEAST_DISK:
        problems.append(f"only {format_size(free)} are free on the cache's disk; `beacon cache prune` makes room")
    facts: dict[str, Any] = {"path": str(root), "documents": 0, "size": 0, "disk_free": free}
    if root.is_dir():
        entries = Store(root).entries()
        facts |= {"documents": len(entries), "size": sum(entry.size for entry in entries)}
        problems += [entry.problem for entry in entries if entry.problem]
    return facts


def _models(problems: list[str]) -> dict[str, Any]:
    here = [model for model in known_models() if model.size]
    problems += [f"{model.problem}; `beacon models rm` removes it" for model in here if model.problem]
    listed = [{"id": model.id, "state": model.state, "size": model.size} for model in here]
    return {"path": str(models_root()), "models": listed}

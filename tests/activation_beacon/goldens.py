"""Loading the golden set, numbers computed with the authors' code: `BEACON_GOLDENS` or `../shared/goldens`."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from activation_beacon import Attached, Beacon, Planner, Reader, attach
from activation_beacon.authors import authors_config, base_config, beacon_name
from activation_beacon.ratios import ratio_chooser

FOLDER = Path(os.environ.get("BEACON_GOLDENS", Path(__file__).parents[3] / "shared" / "goldens"))


@dataclass(frozen=True)
class Case:
    """One golden case: its description and its tensors."""

    id: str
    data: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def case_ids(kind: str) -> list[str]:
    """Ids of all cases of a kind; empty if there is no golden set here."""
    if not (FOLDER / "index.json").exists():
        return []
    cases = json.loads((FOLDER / "index.json").read_text())["cases"]
    return [case["id"] for case in cases if case["kind"] == kind]


def load_case(case_id: str) -> Case:
    path = FOLDER / "cases" / case_id
    return Case(
        case_id,
        json.loads(path.with_suffix(".json").read_text()),
        load_file(path.with_suffix(".safetensors")),
    )


@lru_cache
def load_folder(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    folder = FOLDER / "models" / name
    state: dict[str, torch.Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        state |= load_file(shard)
    return json.loads((folder / "config.json").read_text()), state


def split_parameters(
    state: dict[str, torch.Tensor], wanted: Collection[str]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Base parameters, and beacon parameters under the names of `Beacon`, without projections that are not `wanted`."""
    base, beacon = {}, {}
    for name, tensor in state.items():
        ours = beacon_name(name)
        if ours is None:
            base[name] = tensor
        elif ours == "embedding":
            beacon[ours] = tensor[0]
        elif ours.split(".")[2] in wanted:
            beacon[ours] = tensor
    return base, beacon


def build(case: Case) -> tuple[Attached, dict[str, Any]]:
    """A fresh stock model with the case's settings and its beacon, and those settings."""
    raw, state = load_folder(case.data["model"])
    # A case's settings are complete; a checkpoint of another generation has keys that would contradict them.
    settings = {k: v for k, v in raw.items() if not k.startswith("beacon_")} | case.data["settings"]
    config = authors_config(settings)
    base_state, beacon_state = split_parameters(state, config.param)
    stock = base_config(settings)
    for key in ("architectures", "transformers_version", "torch_dtype", "rope_scaling"):
        stock.pop(key, None)
    model_config = AutoConfig.for_model(**stock)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32).eval()
    missing, unexpected = model.load_state_dict(base_state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    beacon = Beacon.like(config, model)
    beacon.load_state_dict(beacon_state)
    return attach(model, beacon, rope_scaling=settings.get("rope_scaling")), settings


def positions(settings: dict[str, Any]) -> int:
    """What `adapt-N` takes for the model's length."""
    return int(settings["max_position_embeddings"] * (settings.get("rope_scaling") or {}).get("factor", 1))


def reader_for(case: Case, attached: Attached, settings: dict[str, Any]) -> Reader:
    config, seed = attached.beacon.config, case.data["rng_seed"]
    chooser = ratio_chooser(
        config,
        positions=positions(settings),
        rng=np.random.default_rng(42 if seed is None else seed),
    )
    return attached.reader(Planner(config, chooser, case.data.get("skip_first") or 0, case.data.get("skip_last")))

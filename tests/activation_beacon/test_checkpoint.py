"""A beacon's files: read back exactly, refused whenever something about them is off."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from activation_beacon.checkpoint import load_beacon, read_info, save_beacon
from activation_beacon.errors import CheckpointError
from activation_beacon.plugin import Beacon
from tests.activation_beacon.tiny import CONFIG, random_beacon, tiny_model

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_beacon(tmp_path, random_beacon(tiny_model()), base_name="tiny", base_fingerprint="f" * 64)
    return tmp_path


def load(folder: Path, model: Any = None) -> Beacon:
    return load_beacon(folder, model or tiny_model(), dtype=torch.float32, device=CPU)


def test_what_is_saved_is_loaded(folder: Path) -> None:
    info = read_info(folder)
    assert (info.config, info.base_name, info.base_fingerprint) == (CONFIG, "tiny", "f" * 64)
    expected = random_beacon(tiny_model()).state_dict()
    found = load(folder).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_names_and_shapes_must_be_the_models(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not fit the base model.*bias"):
        load(folder, tiny_model("qwen2"))  # whose projections have biases


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "nan"])
def test_other_tensors_are_refused(folder: Path, change: str) -> None:
    path = folder / "beacon.safetensors"
    state = load_file(path)
    name = "layers.1.k.weight"
    if change == "missing":
        del state[name]
    elif change == "extra":
        state["layers.1.z.weight"] = state[name].clone()
    elif change == "shape":
        state[name] = state[name][:-1].clone()
    else:
        state[name] = state[name] * float("nan")
    save_file(state, path)
    with pytest.raises(CheckpointError, match="not finite" if change == "nan" else "does not fit"):
        load(folder)


def test_damage_is_refused(folder: Path) -> None:
    path = folder / "beacon.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="is damaged"):
        load(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"holds no beacon\.safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "must hold exactly the keys"),
        ({"format_version": 2}, "format version 2"),
        ({"settings": {"window": 16, "stride": 16, "ratios": [4], "beacons": 1}}, "unknown beacon settings: beacons"),
        ({"settings": []}, "must be mappings"),
    ],
)
def test_odd_settings_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "beacon_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        read_info(folder)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no beacon_config\.json"):
        read_info(tmp_path)
    with pytest.raises(CheckpointError, match="no beacon folder"):
        read_info(tmp_path / "nowhere")
    (tmp_path / "beacon_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_info(tmp_path)

"""UltraGist's checkpoints, the version between under other names; and what a checkpoint says of its prompts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from activation_beacon.authors import authors_config
from activation_beacon.checkpoint import read_info
from activation_beacon.errors import ConfigError
from beacon_cli.checkpoints import engine
from beacon_cli.checkpoints.local.record import read_record
from beacon_cli.checkpoints.model_source import locate_model
from beacon_cli.checkpoints.obtain import obtain
from beacon_cli.errors import ModelError
from tests.checkpoints.merged_checkpoints import (
    BETWEEN,
    RELEASED,
    ULTRAGIST,
    ULTRAGIST_LLAMA2,
    ULTRAGIST_MISTRAL,
    Checkpoint,
    checkpoint,
)

TEXT = list(range(3, 103))


def under_the_older_names(merged: Checkpoint) -> Checkpoint:
    settings = {key.replace("ultragist_", "beacon_"): value for key, value in merged.settings.items()}
    tensors = {name.replace("ultragist_", "beacon_"): tensor for name, tensor in merged.tensors.items()}
    return Checkpoint(settings, tensors)


@pytest.mark.parametrize("name", [ULTRAGIST_LLAMA2, ULTRAGIST_MISTRAL])
def test_it_is_the_version_between_under_other_names(name: str, tmp_path: Path, cache_dir: Path) -> None:
    merged = checkpoint(RELEASED[name])
    folder, older = (
        obtain(str(source.write(tmp_path / place)), beacon_bits=None, cache=cache_dir)
        for place, source in (("ultragist", merged), ("older", under_the_older_names(merged)))
    )
    assert (folder / "config.json").read_bytes() == (older / "config.json").read_bytes()
    for file in ("model.safetensors", "beacon/beacon.safetensors"):
        ours, expected = load_file(folder / file), load_file(older / file)
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[name], expected[name]) for name in ours)
    config = read_info(folder / "beacon").config
    assert config == read_info(older / "beacon").config
    assert (config.pos, config.attn, config.sink_size) == ("append", "step-expansion", 1)
    assert config.attend_prev is RELEASED[name]["ultragist_attend_prev"]
    assert (read_record(folder).generation, read_record(older).generation) == ("ultragist", "between")
    beacon = load_file(folder / "beacon" / "beacon.safetensors")
    theirs = {name: tensor for name, tensor in merged.tensors.items() if "ultragist" in name}
    assert len(beacon) == len(theirs)
    assert torch.equal(beacon["layers.1.o.weight"], theirs["model.layers.1.self_attn.ultragist_o_proj.weight"])


def test_the_sink_stays_whatever_is_condensed(tmp_path: Path, cache_dir: Path) -> None:
    source = locate_model(str(checkpoint(ULTRAGIST).write(tmp_path / "merged")), None, cache_dir)
    reader = engine.load_engine(source, "cpu").reader(8)
    reader.read(TEXT)
    # One row of sink, 32 / 8 rows of each of three intervals, and 4 tokens that wait.
    assert (reader.planner.sink, reader.memory.size) == (1, 1 + 3 * 4 + 4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ultragist_ratio_mix": "join"}, "ratio_mix is 'join'"),
        ({"ultragist_attend_prev": None}, "config.json lacks ultragist_attend_prev"),
        ({"ultragist_sink_size": None, "ultragist_window": None}, "lacks ultragist_sink_size, ultragist_window"),
        ({"ultragist_colour": "red"}, "unknown beacon keys in config.json: ultragist_colour"),
        ({"ultragist_pos": "interleave"}, "unknown beacon keys in config.json: ultragist_pos"),
        ({"beacon_window": 32}, "beacon_* and ultragist_* keys"),
        ({"ultragist_param": ["q", "mlp"]}, "param"),
        ({"ultragist_stride": [32]}, "later ones"),
        ({"retrieval_method": "bm25"}, "retrieval_method 'bm25' is not supported"),
    ],
)
def test_what_it_cannot_be(changes: dict[str, Any], reason: str) -> None:
    settings = {key: value for key, value in {**ULTRAGIST, **changes}.items() if changes.get(key, "") is not None}
    with pytest.raises(ConfigError) as refusal:
        authors_config(settings)
    assert reason in str(refusal.value)


def test_a_beacon_under_both_names(tmp_path: Path, cache_dir: Path) -> None:
    merged = checkpoint(ULTRAGIST)
    name = "model.layers.1.self_attn.ultragist_q_proj.weight"
    merged.tensors[name.replace("ultragist", "beacon")] = merged.tensors[name].clone()
    with pytest.raises(ModelError, match="under beacon_ and under ultragist_ names"):
        obtain(str(merged.write(tmp_path / "merged")), beacon_bits=None, cache=cache_dir)


def test_prompts_are_said_where_they_are_known(tmp_path: Path, cache_dir: Path) -> None:
    source = locate_model(str(checkpoint(BETWEEN).write(tmp_path / "merged")), None, cache_dir)
    assert source.prompts == ""

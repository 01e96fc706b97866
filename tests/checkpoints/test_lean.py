"""Models that are loaded without transformers: they compute what transformers does, up to rounding."""

import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
from safetensors.torch import load_file, save_file

from activation_beacon import BeaconConfig, SequenceReader, attach
from activation_beacon.decoder import LanguageModel, Layer
from activation_beacon.products import eight_bit_weights
from activation_beacon.selection import Selection
from beacon_cli.checkpoints.convert.four_bit import dequantize, quantize
from beacon_cli.checkpoints.lean import fill, outline
from tests.activation_beacon.tiny import (
    ARCHITECTURES,
    SCHEMES,
    full_attention,
    random_beacon,
    random_ids,
    tiny_model,
)

IDS = random_ids(75)
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 500.0,
}  # fmt: skip
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((architecture, {}) for architecture in ARCHITECTURES),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("llama", {"tie_word_embeddings": True}),
    ("llama", {"num_key_value_heads": 4}),
    ("llama", {"rope_parameters": LINEAR}),
    ("qwen3", {"attention_bias": True, "rope_parameters": LLAMA3}),
    ("mistral", {"sliding_window": 8}),
]
# How far logits of bfloat16 and 8-bit weights may be from those of float32, of their standard deviation. Measured: 0.01
# and 0.02 for the default model.
FAR = 0.03


def lean(model: Any, folder: Path, dtype: torch.dtype = torch.float32, bits: int = 16) -> LanguageModel:
    model.save_pretrained(folder)
    made = outline(json.loads((folder / "config.json").read_text()))
    assert made is not None
    assert fill(made, folder, bits=bits, dtype=dtype)
    return made


def randomized(model: Any) -> Any:
    """Norms and biases too, which are ones and zeros otherwise."""
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def stepwise(reader: SequenceReader) -> torch.Tensor:
    """Logits of a text in pieces, then token by token over the end of an interval."""
    return torch.stack([reader.read(IDS[:20]), reader.read(IDS[20:56]), *(reader.read([token]) for token in IDS[56:])])


@pytest.mark.parametrize(("architecture", "settings"), VARIANTS)
def test_logits_are_those_of_transformers(architecture: str, settings: dict[str, Any], tmp_path: Path) -> None:
    stock = randomized(tiny_model(architecture, **settings))
    made = lean(stock, tmp_path)
    beacon = random_beacon(stock)
    with attach(stock, beacon) as one, attach(made, beacon) as other:
        torch.testing.assert_close(stepwise(other.reader(4)), stepwise(one.reader(4)), atol=5e-5, rtol=1e-4)
        ids = torch.tensor([IDS, random_ids(75, 1)])
        positions = torch.arange(75)
        torch.testing.assert_close(other.run(ids, positions), one.run(ids, positions), atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_selects_as_transformers_does(architecture: str, tmp_path: Path) -> None:
    stock = randomized(tiny_model(architecture))
    selection = Selection(window=24, sink=2, instruction=(5, 6, 7))
    with attach(stock, None) as one, attach(lean(stock, tmp_path), None) as other:
        found, expected = (stepwise(each.selecting_reader(2, selection)) for each in (other, one))
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_rows_selected_are_full_attention_in_the_same_passes_to_the_bit(
    dtype: torch.dtype, one_thread: None, tmp_path: Path
) -> None:
    made = lean(randomized(tiny_model()), tmp_path, dtype)
    made.pack(eight_bit_weights, 4)
    passes = [IDS[:24], IDS[24:48], IDS[48:70], *([token] for token in IDS[70:72])]
    with attach(made, None) as attached:
        reader = attached.selecting_reader(1, Selection(window=24, sink=2, instruction=(5, 6, 7)))
        steps = [step for ids in passes for step in reader.feed(ids)]
        assert torch.equal(torch.cat([step.hidden for step in steps]), full_attention(attached, passes))


@pytest.mark.parametrize("config", SCHEMES)
@pytest.mark.parametrize("pieces", [(75,), (20, 30, 25), (64, 11)])
@pytest.mark.parametrize(("architecture", "settings"), [("llama", {}), ("qwen3", {"attention_bias": True})])
def test_what_is_remembered_does_not_depend_on_whether_hidden_states_are_wanted(
    config: BeaconConfig, pieces: tuple[int, ...], architecture: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    stock = randomized(tiny_model(architecture, **settings))
    with attach(lean(stock, tmp_path), random_beacon(stock, config)) as attached:
        one, other = attached.reader(4), attached.reader(4)
        start = 0
        for length in pieces:
            ids = IDS[start : start + length]
            start += length
            for step, without in zip(one.feed(ids), other.feed(ids, "none"), strict=True):
                assert step.hidden.shape[0] == step.plan.tokens
                assert without.hidden.shape == (0, step.hidden.shape[1])
        memories = [reader.memory.activations(0, reader.memory.size) for reader in (one, other)]
        for rows, expected in zip(*((memory.keys, memory.values) for memory in memories), strict=True):
            torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)
        with pytest.raises(ValueError, match="wanted"):
            other.logits()
        torch.testing.assert_close(other.read(IDS[:30]), one.read(IDS[:30]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pieces", [(75,), (20, 30, 25)])
def test_what_is_selected_does_not_either_to_the_bit(pieces: tuple[int, ...], tmp_path: Path) -> None:
    with attach(lean(randomized(tiny_model()), tmp_path), None) as attached:
        one, other = (attached.selecting_reader(2, Selection(24, 2, (5, 6, 7))) for _ in range(2))
        start = 0
        for length in pieces:
            ids = IDS[start : start + length]
            start += length
            list(one.feed(ids))
            other.remember(ids)
        assert torch.equal(other.read(IDS[:30]), one.read(IDS[:30]))


def test_nothing_is_computed_that_only_hidden_states_need(tmp_path: Path) -> None:
    made, rows = lean(tiny_model(), tmp_path), []
    for layer in made.model.layers:
        layer.mlp.down_proj.register_forward_hook(lambda _layer, given, _out: rows.append(given[0].shape[1]))
    with attach(made, random_beacon(made)) as attached:
        attached.reader(4).remember(IDS[:16])
    assert rows == [20] * (len(made.model.layers) - 2) + [4]  # its four beacons alone, and none in the last layer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "packed"), [(torch.float32, True), (torch.bfloat16, False), (torch.bfloat16, True)])
def test_fewer_bits_stay_near(architecture: str, dtype: torch.dtype, packed: bool, tmp_path: Path) -> None:
    stock = randomized(tiny_model(architecture, initializer_range=0.1, hidden_size=64))
    beacon = random_beacon(stock, std=0.1)
    made = lean(stock, tmp_path, dtype)
    if packed:
        made.pack(eight_bit_weights, 4)
    with attach(stock, beacon) as one, attach(made, beacon) as other:
        first, second = one.reader(4), other.reader(4)
        expected, found = stepwise(first), stepwise(second)
        memories = [reader.memory.activations(0, reader.memory.size) for reader in (first, second)]
    assert 0 < float((found - expected).std() / expected.std()) < FAR
    for rows, exact in itertools.zip_longest(*((memory.keys, memory.values) for memory in memories)):
        assert float((rows - exact).norm() / exact.norm()) < FAR


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_to_a_memory_in_fewer_bits_stays_near(architecture: str, tmp_path: Path) -> None:
    stock = randomized(tiny_model(architecture, initializer_range=0.1, hidden_size=64))
    made, selection = lean(stock, tmp_path, torch.bfloat16), Selection(window=24, sink=2, instruction=(5, 6, 7))
    with attach(stock, None) as one, attach(made, None) as other:
        expected, found = (stepwise(each.selecting_reader(1, selection)) for each in (one, other))
    assert 0 < float((found - expected).std() / expected.std()) < FAR


@pytest.mark.parametrize(("dtype", "packed", "far"), [(torch.float32, False, 1e-4), (torch.bfloat16, True, FAR)])
def test_threads_change_no_more_than_bits_do(dtype: torch.dtype, packed: bool, far: float, tmp_path: Path) -> None:
    stock = randomized(tiny_model(initializer_range=0.1, hidden_size=64))
    made, beacon, before = lean(stock, tmp_path, dtype), random_beacon(stock, std=0.1), torch.get_num_threads()
    if packed:
        made.pack(eight_bit_weights, 4)
    seen = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with attach(made, beacon) as attached:
                seen.append(stepwise(attached.reader(4)))
    finally:
        torch.set_num_threads(before)
    assert float((seen[0] - seen[1]).std() / seen[0].std()) < far


def test_passes_of_few_rows_may_take_fewer_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, before = lean(tiny_model(hidden_size=64), tmp_path, torch.bfloat16), torch.get_num_threads()
    made.pack(eight_bit_weights, 4, threads=1)
    with_threads: list[tuple[int, int]] = []
    forward = Layer.forward

    def counted(layer: Layer, hidden: torch.Tensor, *rest: Any) -> torch.Tensor:
        with_threads.append((hidden.shape[1], torch.get_num_threads()))
        if hidden.shape[1] == 3:
            raise InterruptedError
        return forward(layer, hidden, *rest)

    monkeypatch.setattr(Layer, "forward", counted)
    try:
        torch.set_num_threads(2)
        with attach(made, None) as attached, torch.inference_mode():
            reader = attached.selecting_reader(1, Selection(window=24, sink=2, instruction=(5, 6, 7)))
            for tokens in (5, 1, 3):
                with suppress(InterruptedError):
                    reader.read([9] * tokens)
                assert torch.get_num_threads() == 2
        assert set(with_threads) == {(5, 2), (1, 1), (3, 1)}
    finally:
        torch.set_num_threads(before)


def test_products_follow_the_beacon(tmp_path: Path) -> None:
    """What was packed with one beacon is not used with another, or with none."""
    stock = tiny_model()
    made = lean(stock, tmp_path)
    made.pack(eight_bit_weights, 4)
    seen = []
    for seed in (1, 2):
        beacon = random_beacon(stock)
        torch.manual_seed(seed)
        for parameter in beacon.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        with attach(made, beacon) as attached:
            seen.append(stepwise(attached.reader(4))[-1])
    with attach(made, None) as attached:
        alone = attached.run(torch.tensor([[3]]), torch.tensor([0]))
    with attach(made, beacon) as attached:
        torch.testing.assert_close(stepwise(attached.reader(4))[-1], seen[1], atol=0, rtol=0)
        torch.testing.assert_close(attached.run(torch.tensor([[3]]), torch.tensor([0])), alone, atol=0, rtol=0)
    assert not torch.allclose(seen[0], seen[1], atol=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gemma"},
        {"architectures": ["LlamaForSequenceClassification"]},
        {"hidden_act": "gelu"},
        {"mlp_bias": None},
        {"rms_norm_eps": "1e-5"},
        {"num_key_value_heads": 3},
        {"head_dim": 0},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
        {"rope_parameters": None, "rope_theta": None},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": 1.5, "bnb_4bit_quant_type": "nf4"}},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    ],
)
def test_what_is_unusual_is_left_to_transformers(change: dict[str, Any], tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    assert outline(settings) is not None
    assert outline(settings | change) is None


@pytest.mark.parametrize("change", ["one more", "one less", "another shape"])
def test_other_tensors_are_left_to_transformers(change: str, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    path, name = tmp_path / "model.safetensors", "model.layers.1.self_attn.q_proj.weight"
    weights = load_file(path)
    if change == "one more":
        weights["model.layers.1.self_attn.q_proj.bias"] = torch.zeros(32)
    elif change == "one less":
        del weights[name]
    else:
        weights[name] = weights[name][:16].clone()
    save_file(weights, path)
    made = outline(json.loads((tmp_path / "config.json").read_text()))
    assert made is not None
    assert not fill(made, tmp_path, bits=16, dtype=torch.float32)


@pytest.mark.parametrize("shape", [(48, 64), (7, 9), (300, 640)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_four_bits_are_decoded_as_by_bitsandbytes(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    entries = quantize("x.weight", torch.randn(shape).to(dtype))
    parts = {name.removeprefix("x.weight."): each for name, each in entries.items() if name != "x.weight"}
    state = bitsandbytes.functional.QuantState.from_dict(parts, device=torch.device("cpu"))
    expected = bitsandbytes.functional.dequantize_4bit(entries["x.weight"], state)
    assert torch.equal(dequantize("x.weight", entries), expected)

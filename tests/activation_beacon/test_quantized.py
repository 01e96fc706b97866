"""Condensing on 4-bit weights: the method must not add an error to that of the quantization itself."""

from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from activation_beacon import Activations, Beacon, SelectingReader, Selection, attach
from tests.activation_beacon.tiny import CONFIG, random_beacon, random_ids, tiny_model


def four_bit(folder: Path, dtype: torch.dtype) -> Any:
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=quantization, dtype=dtype, device_map={"": "cpu"}
    ).eval()
    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            # On CPUs with AVX-512 BF16, bitsandbytes would compute in bfloat16 whatever it is asked for.
            module.support_avx512bf16_for_cpu = False
    return model


def condense(model: Any, beacon: Beacon) -> Activations:
    with attach(model, beacon) as attached:
        one = attached.reader(4)
        one.read(random_ids(160))
        return one.memory.activations(0, one.memory.size)


def relative_error(found: Activations, exact: Activations) -> float:
    pairs = ((found.keys, exact.keys), (found.values, exact.values))
    return max(float((one.float() - two).norm() / two.norm()) for one, two in pairs)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_four_bit_weights_condense_as_their_dequantized_values_do(
    tmp_path: Path, dtype: torch.dtype, bound: float
) -> None:
    """Measured 0 and 0.006: the rounding of the type that is computed in, and nothing else."""
    model = tiny_model("qwen2", hidden_size=64, intermediate_size=128, head_dim=16, initializer_range=0.05)
    model = model.to(torch.bfloat16).float()
    model.save_pretrained(tmp_path)
    quantized = four_bit(tmp_path, dtype)
    assert isinstance(quantized.model.layers[0].self_attn.q_proj, bnb.nn.Linear4bit)
    plain = four_bit(tmp_path, torch.float32).dequantize(dtype=torch.float32).float()
    beacon = random_beacon(model, std=0.05)
    exact = condense(plain, beacon)
    assert relative_error(condense(quantized, beacon.to(dtype)), exact) < bound
    # The comparison can fail: the weights before quantization are others.
    assert relative_error(condense(model, beacon.float()), exact) > 2 * bound


def test_four_bit_weights_select_what_their_dequantized_values_do(tmp_path: Path) -> None:
    model = tiny_model("qwen2", hidden_size=64, intermediate_size=128, head_dim=16, initializer_range=0.05)
    model.save_pretrained(tmp_path)
    ids, found = random_ids(99), list[SelectingReader]()
    plain = four_bit(tmp_path, torch.float32).dequantize(dtype=torch.float32).float()
    for each in (plain, four_bit(tmp_path, torch.float32), model):
        with attach(each, None) as attached:
            found.append(attached.selecting_reader(4, Selection(48, 3, (5, 6, 7))))
            found[-1].read(ids)
    exact, quantized, original = (reader.memory for reader in found)
    for mine, yours in zip(exact._heads(), quantized._heads(), strict=True):
        assert torch.equal(mine.places, yours.places)
        torch.testing.assert_close(mine.free, yours.free, atol=1e-4, rtol=1e-4)
    # The comparison can fail: the weights before quantization keep other rows.
    pairs = zip(exact._heads(), original._heads(), strict=True)
    assert not all(torch.equal(mine.places, yours.places) for mine, yours in pairs)


def test_a_beacon_in_four_bits_condenses_as_its_dequantized_values_do() -> None:
    model = tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16, initializer_range=0.05)
    beacon = random_beacon(model, CONFIG, std=0.05)
    plain, quantized = Beacon.like(CONFIG, model), Beacon.like(CONFIG, model)
    for one in (plain, quantized):
        one.load_state_dict(beacon.state_dict())
    for kept, packed in zip(plain.layers, quantized.layers, strict=True):
        for name in CONFIG.param:
            linear = packed[name]  # type: ignore[index]  # a module's parts are typed as modules
            layer = bnb.nn.Linear4bit(
                linear.in_features, linear.out_features, compute_dtype=torch.float32, quant_type="nf4"
            )
            layer.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
            layer.bias = linear.bias
            packed[name] = layer.to("cpu")  # type: ignore[index]  # a ModuleDict
            state = packed[name].weight.quant_state  # type: ignore[index]  # a ModuleDict
            assert state is not None
            kept[name].weight.data = bnb.functional.dequantize_4bit(packed[name].weight.data, state)  # type: ignore[index]  # as above
    assert relative_error(condense(model, quantized), condense(model, plain)) < 1e-5

"""Reading in blocks is reading in one pass, and its memories serve as the one pass's do."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from activation_beacon.config import BeaconConfig
from activation_beacon.memory import Activations
from activation_beacon.onepass import read_in_one_pass
from activation_beacon.planner import Pass, Planner
from activation_beacon.plugin import Beacon, install
from activation_beacon.ratios import Sequence
from activation_beacon.rotary import model_rotary
from recipes.pocket.blocks import Shape, check_scheme, lay_out, read
from recipes.pocket.deepen import deepen

WINDOW = 16
CONFIG = BeaconConfig(window=WINDOW, stride=WINDOW, ratios=(2, 4, 8))


def parts() -> tuple[LlamaForCausalLM, Beacon]:
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=256,
        )
    )  # fmt: skip
    beacon = Beacon.like(CONFIG, model)
    for parameter in beacon.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model, beacon


def passes(ratios: list[int], prefix: int) -> list[Pass]:
    length = WINDOW * (len(ratios) + 1)
    planner = Planner(CONFIG, Sequence((*ratios,)), until=length)
    planner.restore(tokens=0, sink=0, beacons=prefix, intervals=0)
    planner.until = planner.consumed + length
    plans = []
    while (left := planner.until - planner.consumed) > 0:
        plans.append(planner.take(left))
    return plans


@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("ratios", [[2, 8, 4], [8], []])
def test_blocks_equal_one_pass(ratios: list[int], prefix: int) -> None:
    model, beacon = parts()
    shape = Shape(len(ratios) + 1, WINDOW, WINDOW // 2 if ratios else 0, prefix)
    ids = torch.randint(64, (3, shape.tokens))
    older = None
    if prefix:
        older = (torch.randn(2, 2, prefix, 16), torch.randn(2, 2, prefix, 16))
    layout = lay_out(shape, ratios)
    hidden, _, keys, values = read(model, beacon, ids.view(3, shape.intervals, WINDOW), layout, older)
    rows, rotary = install(model, beacon), model_rotary(model.model, model.config)
    model.model.rotary_emb = rotary
    given = Activations(*older) if older else None
    done = read_in_one_pass(model, beacon, rows, rotary, passes(ratios, prefix), ids, given)
    torch.testing.assert_close(hidden, done.hidden, atol=2e-5, rtol=2e-5)
    used = layout.sees[-1, prefix:]
    torch.testing.assert_close(keys.transpose(0, 1)[..., used, :], done.keys, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(values.transpose(0, 1)[..., used, :], done.values, atol=2e-5, rtol=2e-5)


def test_schemes_that_blocks_do_not_compute_are_refused() -> None:
    model, _ = parts()
    with pytest.raises(ValueError, match="interleaved"):
        check_scheme(Beacon.like(BeaconConfig(WINDOW, WINDOW, (2,), pos="append"), model), model)


def test_more_layers_change_nothing_until_they_are_trained() -> None:
    model, beacon = parts()
    shape, ids = Shape(3, WINDOW, WINDOW // 2), torch.randint(64, (2, 3, WINDOW))
    layout = lay_out(shape, [4, 2])
    before, _, keys, _ = read(model, beacon, ids, layout, None)
    deepen(model, beacon, [0, 1])
    after, _, more, _ = read(model, beacon, ids, layout, None)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(more[::2], keys)
    assert model.config.num_hidden_layers == len(more) == 4
    after.square().mean().backward()
    assert all(layer.self_attn.o_proj.weight.grad.any() for layer in model.model.layers)

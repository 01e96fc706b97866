"""The loss of a text and its gradients: however it is computed, the same numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from activation_beacon import Attached, BeaconConfig, attach, objectives
from activation_beacon.errors import ConfigError
from activation_beacon.objectives import Objectives
from activation_beacon.ratios import Fixed
from activation_beacon.training import (
    IGNORED,
    TextLoss,
    text_loss,
    training_chooser,
    training_labels,
    training_passes,
)
from tests.activation_beacon.tiny import CONFIG, random_beacon, random_ids, tiny_model

ALL = Objectives(ar=1.0, distill=0.5, hidden=2.0)
SCHEMES = {
    "interleaved": CONFIG,
    "sink": BeaconConfig(window=16, stride=16, ratios=(2, 4), sink_size=2),
    "interleaved step-expansion": BeaconConfig(
        window=16, stride=16, ratios=(2, 4), attn="step-expansion", attend_prev=False
    ),
    "appended": BeaconConfig(window=16, stride=16, ratios=(2, 8), pos="append"),
    "first release": BeaconConfig(
        window=16, stride=16, ratios=(2, 4), pos="append", attn="step-expansion", attend_prev=False, param=tuple("qkvo")
    ),
    "segmentation": BeaconConfig(window=16, stride=16, ratios=(2, 4), pos="append", attn="segmentation"),
    "stride": BeaconConfig(window=16, stride=8, ratios=(0, 2, 4), pos="append", attn="step-expansion"),
    "short stride": BeaconConfig(window=16, stride=4, ratios=(0, 2), pos="append", sink_size=1),
}


def trainee(config: BeaconConfig, **settings: Any) -> Attached:
    model = tiny_model("qwen2", **settings).requires_grad_(False)
    beacon = random_beacon(model, config).requires_grad_(True)
    return attach(model, beacon)


def loss_and_gradients(one: Attached, length: int = 77, **how: Any) -> tuple[TextLoss, dict[str, torch.Tensor]]:
    ids = torch.tensor(random_ids(length))
    config = one.beacon.config
    passes = training_passes(
        length, config, training_chooser(config, length, positions=512, rng=np.random.default_rng(3))
    )
    one.beacon.zero_grad()
    loss = text_loss(one, ids, training_labels(ids, config), passes, ALL, **how)
    loss.total.backward()
    return loss, {name: p.grad.clone() for name, p in one.beacon.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_interval_by_interval_has_the_gradients_of_one_pass(scheme: str) -> None:
    one = trainee(SCHEMES[scheme])
    expected, gradients = loss_and_gradients(one)
    assert gradients["layers.0.k.weight"].norm() > 1e-4
    for how in ({"intervals": 1}, {"intervals": 3}, {"intervals": 2, "checkpoint_layers": True}):
        found, again = loss_and_gradients(one, **how)
        torch.testing.assert_close(found.total, expected.total)
        assert found.parts.keys() == {"ar", "distill", "hidden"}
        assert again.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(again[name], gradient, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_layers_that_are_computed_again_give_the_same_and_are_left_as_they_were() -> None:
    one = trainee(CONFIG)
    decoder: Any = one.model.model
    before = [dict(vars(layer)) for layer in decoder.layers]
    expected, gradients = loss_and_gradients(one)
    found, again = loss_and_gradients(one, checkpoint_layers=True)
    assert [dict(vars(layer)) for layer in decoder.layers] == before
    assert torch.equal(found.total, expected.total)
    for name, gradient in gradients.items():
        assert torch.equal(again[name], gradient), name


def saved_bytes(one: Attached, **how: Any) -> int:
    """What autograd keeps from the forward pass for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.tensor(random_ids(200))
    passes = training_passes(200, one.beacon.config, Fixed(4))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        text_loss(one, ids, training_labels(ids, one.beacon.config), passes, **how)
    return sum(kept.values())


def test_computing_again_keeps_less() -> None:
    one = trainee(CONFIG)
    whole = saved_bytes(one)
    assert saved_bytes(one, checkpoint_layers=True) < whole / 2
    assert saved_bytes(one, intervals=1) < whole / 4


def test_logits_in_slices_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainee(CONFIG)
    expected, gradients = loss_and_gradients(one)
    monkeypatch.setattr(objectives, "LOGITS", 7 * 97)
    found, again = loss_and_gradients(one)
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(again["layers.0.k.weight"], gradients["layers.0.k.weight"])


def test_only_the_beacon_is_trained() -> None:
    one = trainee(CONFIG)
    loss_and_gradients(one)
    assert not [name for name, p in one.model.named_parameters() if p.grad is not None and "beacon_layer" not in name]


def test_a_beacon_that_condenses_nothing_is_no_further_from_its_teacher_than_rounding() -> None:
    config = BeaconConfig(window=16, stride=16, ratios=(0,))
    one = trainee(config)
    ids = torch.tensor(random_ids(77))
    loss = text_loss(one, ids, training_labels(ids, config), training_passes(77, config, Fixed(0)), ALL)
    assert float(loss.parts["distill"]) < 1e-8
    assert float(loss.parts["hidden"]) < 1e-8


def test_training_on_a_text_brings_its_loss_down() -> None:
    one = trainee(CONFIG)
    optimizer = torch.optim.AdamW(one.beacon.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss, _ = loss_and_gradients(one)
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.9 * losses[0]


def test_a_text_without_labels_is_refused() -> None:
    ids = torch.tensor(random_ids(40))
    with pytest.raises(ConfigError, match="no token to learn"):
        text_loss(trainee(CONFIG), ids, torch.full_like(ids, IGNORED), training_passes(40, CONFIG, Fixed(4)))


@pytest.mark.parametrize("weights", [{"ar": 0.0}, {"ar": -1.0, "hidden": 1.0}, {"distill": float("inf")}])
def test_unusable_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="weights"):
        Objectives(**weights)

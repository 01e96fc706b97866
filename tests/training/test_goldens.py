"""The goldens' losses and gradients, through a training run's own step."""

from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from activation_beacon.checkpoint import BeaconInfo
from activation_beacon.training import IGNORED
from beacon_cli.training import learner
from beacon_cli.training.data import TrainingData
from beacon_cli.training.layouts import Example
from beacon_cli.training.preparation import Loaded, Prepared
from beacon_cli.training.settings import TrainSettings
from beacon_cli.training.workers import Workers
from tests.activation_beacon.goldens import FOLDER, build, case_ids, positions
from tests.activation_beacon.test_goldens import TOLERANCE, reference_name, usable

pytestmark = pytest.mark.skipif(not case_ids("train"), reason=f"no golden set in {FOLDER} (set BEACON_GOLDENS)")


@pytest.mark.parametrize(
    "how", [{"checkpoint_layers": False}, {"pass_tokens": 1}], ids=["one pass", "interval by interval, computed again"]
)
@pytest.mark.parametrize("case_id", case_ids("train"))
def test_a_step_has_the_references_loss_and_gradients(
    case_id: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = usable(case_id)
    attached, golden = build(case)
    beacon = attached.beacon
    instances = case.data["expected"]["instances"]
    examples = [
        Example(case.tensors[f"inst{index}.input_ids"].numpy(), (labels != IGNORED).numpy(), case_id)
        for index in range(len(instances))
        for labels in [case.tensors[f"inst{index}.labels"]]
    ]
    # A batch of one, and a gradient as long as it is.
    settings = TrainSettings((case_id,), batch=1, clip=1e30, **how)
    info = BeaconInfo(beacon.config, case_id, "")
    base = Mock(context=positions(golden))
    prepared = Prepared(settings, base, None, info, TrainingData(examples, []), None, len(examples), 0)
    # The reference draws the texts in order, and all ratios from one generator that it seeds with 42 once a model.
    rng = np.random.default_rng(42 if case.data["rng_seed"] is None else case.data["rng_seed"])
    monkeypatch.setattr(learner, "ratio_generator", lambda seed, number: rng)
    monkeypatch.setattr(learner, "texts_of_step", lambda step, *_: [(step, step)])
    attached.model.requires_grad_(False)
    beacon.requires_grad_(True)
    one = learner.Learner(prepared, Loaded(attached, torch.device("cpu"), False, ""), Workers())
    for step, expected in enumerate(instances):
        assert one.gradients(step).loss == pytest.approx(expected["loss"], abs=TOLERANCE)
        for name, parameter in beacon.named_parameters():
            norm = parameter.grad.double().norm().item()
            reference = expected["grad_norm"][reference_name(name)] or 0.0
            assert norm == pytest.approx(reference, rel=1e-4, abs=1e-7), name

"""Which decoders a beacon fits, found by their modules and not by a list of names."""

from typing import Any

import pytest
import torch

from activation_beacon import Beacon, attach
from activation_beacon.errors import ConfigError
from tests.activation_beacon.tiny import CONFIG, random_beacon, random_ids, tiny_model


def build(architecture: str, **settings: Any) -> Any:
    return tiny_model(architecture, **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **settings})


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("gemma", {}),
        ("granite", {"attention_multiplier": 0.3, "embedding_multiplier": 2.0, "residual_multiplier": 0.5}),
        ("mixtral", {}),
        ("olmo2", {}),
        ("stablelm", {}),  # rotates a quarter of each head only
    ],
)
def test_other_decoders_that_fit_read_as_they_are(architecture: str, settings: dict[str, Any]) -> None:
    model, ids = build(architecture, **settings), random_ids(75)
    beacon = Beacon.like(CONFIG, model)
    beacon.copy_base(model, token=1)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1]
        with attach(model, beacon) as attached:
            found = attached.reader(0).read(ids)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "settings", "why"),
    [
        ("phi3", {}, "Phi3ForCausalLM .* layer 0 has no separate q_proj, .* (but qkv_proj)"),
        ("gemma2", {}, "Gemma2ForCausalLM .* sliding_attention"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}, "sliding_attention"),
        ("glm", {}, "rotates its keys in a way that is not known"),
        ("smollm3", {"num_hidden_layers": 4}, "layer 3 has no rotary positions"),
        ("granite", {"logits_scaling": 4.0}, "logits_scaling"),
        ("gpt_neox", {}, "no `model.layers`"),
    ],
)
def test_decoders_that_do_not_fit_are_refused_by_name(architecture: str, settings: dict[str, Any], why: str) -> None:
    with torch.device("meta"):
        model = build(architecture, **settings)
    with pytest.raises(ConfigError, match=why.replace("(", r"\(").replace(")", r"\)")):
        Beacon.like(CONFIG, model)


def test_a_sliding_window_of_all_layers_is_ignored() -> None:
    ids = random_ids(75)
    logits = []
    for window in (None, 20):
        model = tiny_model("mistral", sliding_window=window)
        beacon = random_beacon(model)
        with attach(model, beacon) as attached:
            one = attached.reader(4)
            logits.append(torch.stack([one.read(ids[:70]), *(one.read([token]) for token in ids[70:])]))
    torch.testing.assert_close(logits[0], logits[1])

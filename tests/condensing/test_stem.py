"""Texts that begin alike: condensed after each other, they are what each is by itself, at less cost."""

from dataclasses import replace
from typing import Any

import pytest

from activation_beacon import Selection
from beacon_cli.condensing.stem import Stem
from beacon_cli.library import Memory, Model
from tests.evaluation.tiny_engine import FRAME, tiny_engine, tiny_model_of

GROWING = {
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
}
LINES = [f"Line {number} says that {number} is odd." for number in range(16)]
HAY = "\n\n".join(LINES)
TEXTS = {
    "a needle late": "\n\n".join([*LINES[:12], "The key is 7.", *LINES[12:]]),
    "the same once more": "\n\n".join([*LINES[:12], "The key is 7.", *LINES[12:]]),
    "a needle early": "\n\n".join([*LINES[:4], "The key is 7.", *LINES[4:]]),
    "the hay alone": HAY,
    "longer": f"{HAY}\n\n{HAY}",
    "shorter": HAY[:200],
    "nothing alike": HAY[::-1],
}


def selecting(model: Model) -> Model:
    """The same weights, condensing by selection."""
    source = replace(model.source, info=None, beacon_folder=None, beacon_fingerprint="select")
    vars(source)["frame"] = FRAME
    vars(source)["selection"] = Selection(window=16, sink=2, instruction=(5, 6, 7))
    other = Model(source, "cpu", model._cache[0])
    other.share_weights(model)
    return other


def answer(memory: Memory) -> tuple[str, int]:
    return memory.ask("which?", max_new_tokens=8, passages=0, temperature=0.0).text, memory.rows


@pytest.mark.parametrize("settings", [{}, GROWING], ids=["fixed", "growing"])
@pytest.mark.parametrize("by", ["beacon", "select"])
def test_a_stem_changes_nothing_but_the_cost(by: str, settings: dict[str, Any]) -> None:
    model = tiny_model_of(tiny_engine(1500, **settings))
    model = selecting(model) if by == "select" else model
    stem, condensed = Stem(), {}
    for ratio in (4, 8):
        for name, text in TEXTS.items():
            memory = model.read_text(text, ratio=ratio, cache=False, stem=stem)
            condensed[name] = memory.documents[0].condensed_now
            alone = model.read_text(text, ratio=ratio, cache=False)
            assert answer(memory) == answer(alone)
            assert answer(memory) == answer(alone)  # a question does not use it up
        whole = len(HAY) // 16 * 16
        assert condensed["a needle late"] >= whole
        assert condensed["the same once more"] == 0
        assert condensed["the hay alone"] < condensed["a needle early"] < whole
        assert condensed["longer"] <= condensed["nothing alike"] + 16
        assert condensed["shorter"] == 0
        assert condensed["nothing alike"] == whole

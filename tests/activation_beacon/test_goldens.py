"""Parity with the authors' code: every `generate` case of the golden set (`FORMAT.md` 2, 3)."""

from typing import Any

import pytest
import torch

from activation_beacon.errors import ConfigError
from activation_beacon.onepass import read_in_one_pass
from activation_beacon.plugin import installed
from activation_beacon.reader import Reader, Step
from tests.activation_beacon.goldens import FOLDER, Case, build, case_ids, load_case, reader_for

TOLERANCE = 1e-4
# What an implementation must not copy, and why (`FORMAT.md` 9).
DEFECTS = {
    "q-odd-ratio3": "a ratio that does not divide the window leaves tokens uncovered: refused, see below",
    "l-short-sink1-asreleased": "the sink is taken again at every call and seen twice; l-short-sink1 is the right one",
}
V1 = "v1 settings (other key names, a list of strides) are not read yet"
CASES = case_ids("generate")

pytestmark = pytest.mark.skipif(not CASES, reason=f"no golden set in {FOLDER} (set BEACON_GOLDENS)")


def usable(case_id: str) -> Case:
    case = load_case(case_id)
    if case.data["quirk"]:
        pytest.skip(f"records a defect of the reference: {DEFECTS.get(case_id, case.data['quirk'])}")
    if case.data["reference"] == "v1":
        pytest.skip(V1)
    return case


def read_prompt(case: Case, reader: Reader) -> tuple[list[Step], list[list[int]]]:
    ids = case.tensors["input_ids"].tolist()
    steps, sizes, start = [], [], 0
    for length in case.data["calls"]:
        for step in reader.feed(ids[start : start + length]):
            steps.append(step)
            sizes.append([reader.planner.sink, reader.planner.beacons, reader.memory.size - reader.planner.memory])
        start += length
    return steps, sizes


def check_step(index: int, step: Step, case: Case) -> None:
    """Layout, positions and mask of one pass, exactly."""
    plan, vocabulary = step.plan, case.tensors["prompt.step_last_logits"].shape[1]
    fed = case.tensors[f"step{index}.input_ids"].tolist()
    assert [entry.is_beacon for entry in plan.entries] == [token == vocabulary for token in fed]
    positions = [*range(plan.memory), *(entry.position for entry in (*plan.cached, *plan.entries))]
    assert positions == case.tensors[f"step{index}.position_ids"].tolist()


def check_memory(case: Case, reader: Reader) -> None:
    planner, memory = reader.planner, reader.memory
    ranges = {
        "sink": (0, planner.sink),
        "beacon": (planner.sink, planner.memory),
        "raw": (planner.memory, memory.size),
    }
    for name, (first, end) in ranges.items():
        if f"memory.{name}_key" not in case.tensors:
            assert first == end
            continue
        found = memory.activations(first, end)
        torch.testing.assert_close(found.keys, case.tensors[f"memory.{name}_key"], atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(found.values, case.tensors[f"memory.{name}_value"], atol=TOLERANCE, rtol=0)


def check_logits(logits: torch.Tensor, case: Case, prefix: str) -> None:
    stride = logits.shape[-1] // 16
    subset = logits[:, torch.arange(16) * stride]
    torch.testing.assert_close(subset, case.tensors[f"{prefix}.logits_subset"], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits.logsumexp(-1), case.tensors[f"{prefix}.lse"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case_id", CASES)
def test_reading_and_decoding_equal_the_reference(case_id: str) -> None:
    case = usable(case_id)
    expected = case.data["expected"]
    parts: Any = build(case)
    with installed(parts[0], parts[1]) as rows, torch.inference_mode():
        reader = reader_for(case, rows, parts)
        steps, sizes = read_prompt(case, reader)
        if case.data["settings"]["beacon_parallel_window"] == 1:  # else the reference packs its passes otherwise
            assert sizes == [step["memory_after"] for step in expected["steps"]]
            for index, step in enumerate(steps):
                check_step(index, step, case)
        check_logits(parts[0].lm_head(torch.cat([step.hidden for step in steps])), case, "prompt")
        check_memory(case, reader)

        decoded, chosen_from = [], []
        for _ in range(case.data["n_decode"]):
            if decoded:
                reader.read([decoded[-1]])
            chosen_from.append(reader.logits())
            decoded.append(int(chosen_from[-1].argmax()))
        assert decoded == case.tensors["decode.tokens"].tolist()
        check_logits(torch.stack(chosen_from), case, "decode")
        after = expected["memory_after_decode"]
        assert reader.planner.sink == after["sink"]
        assert reader.planner.beacons == after["beacon"]
        assert reader.memory.size - reader.planner.memory == after["raw"]


@pytest.mark.parametrize("case_id", CASES)
def test_all_intervals_in_one_pass_equal_one_after_another(case_id: str) -> None:
    case = usable(case_id)
    settings = case.data["settings"]
    if settings["beacon_window"] != settings["beacon_stride"]:
        pytest.skip("stride < window: intervals share entries, so they cannot run in one pass")
    if len(case.data["calls"]) > 1 or case.data["skip_last"] is not None:
        pytest.skip("the pieces of an unfinished interval do not run in one pass")
    if (settings.get("rope_scaling") or {}).get("type") == "dynamic":
        pytest.skip("frequencies that change with the length read differ between the first interval and the last")
    parts: Any = build(case)
    model, beacon, rotary = parts[:3]
    with installed(model, beacon) as rows, torch.inference_mode():
        reader = reader_for(case, rows, parts)
        steps, _ = read_prompt(case, reader)
        whole = read_in_one_pass(
            model, beacon, rows, rotary, [step.plan for step in steps], case.tensors["input_ids"][None]
        )
        memory = reader.memory.activations(0, reader.planner.memory) if reader.planner.memory else None
    torch.testing.assert_close(whole.hidden[0], torch.cat([step.hidden for step in steps]), atol=1e-5, rtol=0)
    if memory is not None:
        torch.testing.assert_close(whole.keys[0], memory.keys, atol=1e-5, rtol=0)
        torch.testing.assert_close(whole.values[0], memory.values, atol=1e-5, rtol=0)


def test_a_ratio_that_does_not_divide_the_window_is_refused() -> None:
    if "q-odd-ratio3" not in CASES:
        pytest.skip("this golden set has no such case")
    with pytest.raises(ConfigError, match="ratio 3 does not divide the stride 32"):
        build(load_case("q-odd-ratio3"))

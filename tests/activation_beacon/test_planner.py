"""Plans are integers: a reader of these tests sees what the method does."""

import numpy as np
import pytest

from activation_beacon.config import BeaconConfig
from activation_beacon.errors import ConfigError
from activation_beacon.planner import Planner
from activation_beacon.ratios import Fixed, memory_capacity, ratio_chooser


def interleaved(ratio: int = 4, **settings: object) -> Planner:
    return Planner(BeaconConfig(window=8, stride=8, ratios=(ratio,), **settings), Fixed(ratio))  # type: ignore[arg-type]  # by name


def test_an_interval_with_interleaved_beacons() -> None:
    plan = interleaved().take(20)
    assert [entry.is_beacon for entry in plan.entries] == [False] * 4 + [True] + [False] * 4 + [True]
    assert [entry.position for entry in plan.entries] == list(range(10))
    assert plan.full
    assert plan.condensed == (4, 9)
    assert plan.causal


def test_the_next_interval_follows_the_memory() -> None:
    planner = interleaved()
    planner.take(20)
    plan = planner.take(12)
    assert plan.memory == 2
    assert [entry.position for entry in plan.entries] == list(range(2, 12))
    last = planner.take(4)
    assert (last.tokens, last.full, last.memory, planner.memory) == (4, False, 4, 4)


def test_single_tokens_complete_an_interval_like_a_prompt() -> None:
    planner = interleaved()
    plans = [planner.take(1) for _ in range(8)]
    assert [len(plan.entries) for plan in plans] == [1, 1, 1, 2, 1, 1, 1, 2]
    assert [plan.full for plan in plans] == [False] * 7 + [True]
    assert plans[-1].condensed == (4, 9)


def test_the_sink_is_taken_once() -> None:
    planner = interleaved(sink_size=2)
    assert planner.take(8).sink == (0, 1)
    assert planner.take(8).sink == ()
    assert (planner.sink, planner.beacons) == (2, 4)


def test_ratio_0_keeps_raw_activations() -> None:
    plan = interleaved(0).take(8)
    assert plan.condensed == tuple(range(8))


def test_stride_keeps_the_rest_of_the_window() -> None:
    config = BeaconConfig(window=8, stride=4, ratios=(2,), pos="append", attn="step-expansion")
    planner = Planner(config, Fixed(2))
    first = planner.take(8)
    assert (first.condensed, first.kept) == ((8, 9), (4, 5, 6, 7))
    assert planner.take(8).tokens == 4


def test_the_reference_generator_draws_as_documented() -> None:
    config = BeaconConfig(window=8, stride=8, ratios=(2, 4, 8))
    chooser = ratio_chooser(config, positions=256, rng=np.random.default_rng(42))
    assert [chooser.choose(0, 0) for _ in range(7)] == [2, 8, 4, 4, 4, 8, 2]


def test_capacity() -> None:
    assert memory_capacity(8, window=128, positions=8192) == (8192 - 128) * 8 + 128
    assert memory_capacity(0, window=128, positions=8192) == 8192


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window is 0"),
        ({"stride": 16}, "longer than the window"),
        ({"stride": 4}, "need stride == window"),
        ({"ratios": (3,)}, "ratio 3 does not divide"),
        ({"ratios": (16,)}, "ratio 16 does not divide"),
        ({"ratios": ()}, "must list whole numbers"),
        ({"attn": "segmentation"}, "cannot be combined"),
        ({"attn": "step-expansion"}, "need attend_prev false"),
        ({"pos": "prepend"}, "known: interleave, append"),
        ({"ratio_mix": "adapt"}, "adapt-N"),
        ({"param": ("x",)}, "letters of"),
        ({"param": (["q"],)}, "letters of"),
        ({"sink_size": -1}, "sink_size is -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BeaconConfig(**{"window": 8, "stride": 8, "ratios": (2,), **settings})  # type: ignore[arg-type]  # by name


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown beacon settings: windows"):
        BeaconConfig.from_dict({"windows": 8})


def test_settings_survive_their_file() -> None:
    config = BeaconConfig(window=8, stride=8, ratios=(2, 4), sink_size=1)
    assert BeaconConfig.from_dict(config.to_dict()) == config


def test_skips_need_whole_intervals() -> None:
    with pytest.raises(ConfigError, match="not a multiple of the window"):
        Planner(BeaconConfig(window=8, stride=8, ratios=(2,)), Fixed(2), skip_last=12)

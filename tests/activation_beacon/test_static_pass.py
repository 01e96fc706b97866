"""Tokens that are read with static shapes are read as ever."""

import pytest
import torch

from activation_beacon import attach, memory
from activation_beacon.errors import ConfigError
from activation_beacon.rotary import DynamicRotary
from tests.activation_beacon.tiny import CONFIG, VOCABULARY, random_beacon, tiny_model

IDS = torch.randint(0, VOCABULARY, (90,), generator=torch.Generator().manual_seed(3)).tolist()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_what_follows_is_the_same(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FIRST_CAPACITY", 16)  # so that buffers grow
    model = tiny_model(architecture)
    with attach(model, random_beacon(model)) as attached, torch.inference_mode():
        plain, static = attached.reader(2), attached.reader(2, static=True)
        for reader in (plain, static):
            reader.read(IDS[:5])
        for layer in static.memory.layers:
            layer.keys[:, :, static.memory.size :] = float("nan")  # as free memory may be
            layer.values[:, :, static.memory.size :] = float("nan")
        for number, token in enumerate(IDS[5:]):
            if number == 40:
                marks = [reader.mark() for reader in (plain, static)]
                for reader, mark in zip((plain, static), marks, strict=True):
                    reader.read(IDS[:3])
                    reader.rewind(mark)
            expected, got = plain.read([token]), static.read([token])
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
        assert static.memory.positions == plain.memory.positions
        assert static.memory.layers[0].keys.shape[2] > 16


def test_a_token_is_read_into_the_same_tensors() -> None:
    model = tiny_model()
    with attach(model, random_beacon(model)) as attached, torch.inference_mode():
        reader = attached.reader(CONFIG.ratios[0], static=True)
        reader.read(IDS[:3])
        seen = set[tuple[int, ...]]()
        run = attached.run

        def watched(*given: object) -> torch.Tensor:
            seen.add(tuple(each.data_ptr() for each in given[:2] if isinstance(each, torch.Tensor)))
            return run(*given)  # type: ignore[arg-type]  # as they came

        attached.run = watched  # type: ignore[method-assign]  # for this test
        for token in IDS[3:6]:
            reader.read([token])
        assert len(seen) == 1


def test_frequencies_that_grow_are_refused() -> None:
    model = tiny_model(rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    with attach(model, random_beacon(model)) as attached:
        assert isinstance(attached.rotary, DynamicRotary)
        with pytest.raises(ConfigError, match="static shapes"):
            attached.reader(2, static=True)

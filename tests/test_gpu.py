"""On a CUDA device: the 4-bit path reads what the CPU reads. Run with `pytest -m gpu` where there is one."""

from pathlib import Path

import pytest
import torch

from activation_beacon import attach
from beacon_cli.checkpoints.engine import load_engine
from beacon_cli.checkpoints.model_source import locate_model
from tests.activation_beacon.tiny import VOCABULARY, random_beacon, tiny_model
from tests.cli.runner import run
from tests.scripted import UNPROMPTED
from tests.stories import WHO_KEEPS, story

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_memory_on_cuda_is_that_of_the_cpu(scripted_model: Path, tmp_path: Path) -> None:
    source = locate_model(str(scripted_model), None, tmp_path)
    ids = source.tokenizer.encode(story(20))[:1024]
    memories = []
    for device in ("cpu", "cuda"):
        reader = load_engine(source, device).reader(8)  # type: ignore[arg-type]  # one of the two
        reader.read(ids)
        memories.append(reader.memory.activations(0, reader.planner.memory).values.float().cpu())
    cpu, cuda = memories
    assert (cpu - cuda).norm() / cpu.norm() < 0.05


def test_a_graph_computes_what_kernels_do() -> None:
    model = tiny_model().cuda()
    ids = torch.randint(0, VOCABULARY, (60,), generator=torch.Generator().manual_seed(3)).tolist()
    with attach(model, random_beacon(model).cuda()) as attached, torch.inference_mode():
        plain, static = attached.reader(2), attached.reader(2, static=True)
        for reader in (plain, static):
            reader.read(ids[:5])
        for token in ids[5:]:
            torch.testing.assert_close(static.read([token]), plain.read([token]), atol=1e-3, rtol=1e-3)


def test_a_book_condensed_on_one_device_is_asked_on_the_other(
    book: Path, scripted_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEACON_MODEL", str(scripted_model))
    (built,) = run("cache", "build", str(book), "--device", "cuda", "--json").json
    assert built["tokens_condensed"] > 0
    asked = run("ask", str(book), WHO_KEEPS, "--device", "cpu", "--json").json
    assert asked["tokens_condensed"] == 0
    assert asked["answer"] == UNPROMPTED

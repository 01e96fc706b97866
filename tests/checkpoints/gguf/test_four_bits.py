"""What is stored in four bits is multiplied with few rows in those four bits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file, save_file

from activation_beacon.decoder import Linear
from activation_beacon.four_bits import FourBitProduct, FourBits
from activation_beacon.linear import BeaconLinear, BeaconRows
from activation_beacon.products import Packed, eight_bit_weights
from beacon_cli.checkpoints import engine
from beacon_cli.checkpoints.arithmetic import Arithmetic
from beacon_cli.checkpoints.decoding_file import DECODING
from beacon_cli.checkpoints.gguf.file import GgufTensor
from beacon_cli.checkpoints.gguf.four_bits import four_bits, in_four_bits
from beacon_cli.checkpoints.model_source import ModelSource, locate_model
from beacon_cli.errors import ModelError
from tests.checkpoints.gguf.gguf_files import tiny_model, write
from tests.checkpoints.tokenizer.toy_tokenizers import STYLES

PROMPT, QUESTION = list(range(3, 40)), [7]
FOUR_BITS = (Kind.Q4_0, Kind.Q4_1, Kind.Q4_K)


def tensor(folder: Path, kind: Kind, heads: int = 0) -> GgufTensor:
    """A matrix (32, 512) of random blocks, whose scales are small numbers."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    draw = np.random.default_rng(0)
    blocks = draw.integers(0, 256, (32 * 512 // block, size), np.uint8)
    scales = draw.normal(0, 0.01, (len(blocks), 2)).astype(np.float16).view(np.uint8)
    blocks[:, : 2 if kind == Kind.Q4_0 else 4] = scales[:, : 2 if kind == Kind.Q4_0 else 4]
    path = folder / "blocks"
    path.write_bytes(blocks.tobytes())
    return GgufTensor(path, "a", (32, 512), 0, blocks.size, kind, heads)


@pytest.mark.parametrize("heads", [0, 2])
@pytest.mark.parametrize("kind", FOUR_BITS)
def test_they_are_what_the_file_says(kind: Kind, heads: int, tmp_path: Path) -> None:
    matrix = tensor(tmp_path, kind, heads)
    assert in_four_bits(matrix)
    found, expected = four_bits(matrix).weight(), matrix.read(torch.float32)
    assert float((found - expected).norm() / expected.norm()) < 2**-8


def test_what_is_not_so_is_left_alone(tmp_path: Path) -> None:
    assert not in_four_bits(GgufTensor(tmp_path, "a", (32, 512), 0, 0, Kind.Q8_0))
    assert not in_four_bits(GgufTensor(tmp_path, "a", (24, 512), 0, 0, Kind.Q4_1))  # torch's kernel takes no such rows
    assert not in_four_bits(GgufTensor(tmp_path, "a", (512,), 0, 0, Kind.Q4_1))


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("ranks", [(None, None), (4, None), (4, 3)])
def test_several_weights_are_one_product(rows: int, ranks: tuple[int | None, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    weights = []
    for out, rank in zip((32, 48), ranks, strict=True):
        change = rank and (torch.randn(rank, 64, generator=draw), torch.randn(out, rank, generator=draw))
        levels = torch.randint(0, 16, (out, 64), generator=draw)
        weights.append(replace(FourBits.of(levels, *torch.rand(2, out, 2, generator=draw)), change=change or None))
    x, bias = torch.randn(1, rows, 64, generator=draw), torch.randn(80, generator=draw)
    expected = x @ torch.cat([each.weight() for each in weights]).T + bias
    found = FourBitProduct(weights, bias)(x)
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 0.01


def test_an_output_that_stands_out_is_compared_by_its_own_size() -> None:
    draw = torch.Generator().manual_seed(0)
    steps, middles = torch.rand(2, 4096, 2, generator=draw)
    steps[3] *= 1000
    layer = Linear(64, 4096, bias=False)
    layer.four_bits = FourBits.of(torch.randint(0, 16, (4096, 64), generator=draw), steps, middles)
    layer.weight = torch.nn.Parameter(layer.four_bits.weight().bfloat16(), requires_grad=False)
    assert isinstance(Packed((layer,), eight_bit_weights)._base, FourBitProduct)


def test_a_beacon_among_few_rows_has_weights_of_its_own() -> None:
    """The layer's are in four bits, the beacon's are packed into eight."""
    draw = torch.Generator().manual_seed(0)
    layer, beacons = Linear(64, 32, bias=False), BeaconRows()
    levels = torch.randint(0, 16, (32, 64), generator=draw)
    layer.four_bits = FourBits.of(levels, *torch.rand(2, 32, 2, generator=draw))
    layer.weight = torch.nn.Parameter(layer.four_bits.weight(), requires_grad=False)
    other = torch.nn.Linear(64, 32, bias=False).requires_grad_(False)
    packed = Packed((BeaconLinear(layer, other, beacons),), eight_bit_weights)
    x = torch.randn(1, 3, 64, generator=draw)
    beacons.rows = torch.tensor([1])
    found, expected = packed(x), layer(x)
    expected[:, 1] = other(x[:, 1])
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert float((found - expected)[:, 1].norm() / expected[:, 1].norm()) < 0.02


@pytest.fixture
def source(tmp_path: Path, cache_dir: Path, request: pytest.FixtureRequest) -> ModelSource:
    """A converted model of Q4_1, large enough that its outputs are no noise."""
    original = tiny_model("qwen2", STYLES["gpt2"]().get_vocab_size(), initializer_range=0.2)
    path = write(
        tmp_path / "tiny.gguf", architecture="qwen2", model=original, kind=getattr(request, "param", Kind.Q4_1)
    )
    return locate_model(str(path), None, cache_dir)


def decoded(source: ModelSource, monkeypatch: pytest.MonkeyPatch, decoding: Any) -> tuple[torch.Tensor, str]:
    """Logits of a token that is read after others, and what they were computed in."""
    monkeypatch.setattr(engine, "fast_arithmetic", lambda: Arithmetic("float32", decoding))
    loaded = engine.load_engine(source, "cpu")
    reader = loaded.reader(2)
    reader.read(PROMPT)
    return reader.read(QUESTION), loaded.computing


def error(source: ModelSource, monkeypatch: pytest.MonkeyPatch, decoding: Any) -> float:
    exact, found = (decoded(source, monkeypatch, each)[0] for each in ("float32", decoding))
    return float((found - exact).std() / exact.std())


@pytest.mark.parametrize("source", [Kind.Q4_0, Kind.Q4_1], indirect=True)
def test_fewer_bits_are_nearer(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoded(source, monkeypatch, "int4")[1] == "float32+int4"
    assert 0 < error(source, monkeypatch, "int4") < error(source, monkeypatch, "int8") < 0.05


@pytest.mark.parametrize("source", [Kind.Q8_0, Kind.BF16], indirect=True)
def test_what_came_in_more_bits_is_multiplied_in_eight(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not (source.folder / DECODING).exists()
    assert decoded(source, monkeypatch, "int4")[1] == "float32+int8"


def test_what_does_not_give_what_the_weights_give_is_not_used(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source.folder / DECODING
    entries = load_file(path)
    for groups in entries.values():
        groups[3, 1, :16] ^= 255
    save_file(entries, path)
    found, expected = (decoded(source, monkeypatch, each)[0] for each in ("int4", "int8"))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("damage", ["cut", "shape", "change"])
def test_a_damaged_file_is_refused(damage: str, source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source.folder / DECODING
    entries = load_file(path)
    name = next(iter(entries))
    if damage == "shape":
        entries[name] = entries[name][:-1].clone()
    if damage == "change":
        entries[f"{name}.first"], entries[f"{name}.second"] = torch.zeros(2, 64), torch.zeros(3, 2)
    save_file(entries, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"decoding\.safetensors cannot be used .*: convert the model again"):
        decoded(source, monkeypatch, "int4")

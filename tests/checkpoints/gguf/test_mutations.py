"""GGUF files that something has changed: each is refused in one clear line or read, quickly and in little memory."""

import random
import time
import tracemalloc
from pathlib import Path

import gguf
import pytest
import torch

from beacon_cli.checkpoints.gguf.model import open_model
from beacon_cli.checkpoints.gguf.tokenizer import write_tokenizer
from beacon_cli.errors import ModelError
from tests.checkpoints.gguf.gguf_files import write

HOSTILE = (0, 1, 2, 7, 31, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("whole") / "tiny.gguf").read_bytes()


@pytest.fixture(scope="module")
def numbers(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, int]]:
    """Where the numbers are that say how the file is built, and how many bytes each has: versions, counts, lengths,
    types, dimensions, offsets; of texts and sequences only the beginning."""
    path = tmp_path_factory.mktemp("read") / "tiny.gguf"
    path.write_bytes(content)
    reader = gguf.GGUFReader(path)
    fields = [*reader.fields.values(), *(tensor.field for tensor in reader.tensors)]
    start = reader.data.ctypes.data
    return [(part.ctypes.data - start, min(part.nbytes, 8)) for field in fields for part in field.parts[:8]]


def outcome(path: Path, folder: Path) -> str:
    """What it is refused with; empty if all of it can be read."""
    began = time.process_time()
    tracemalloc.start()
    try:
        model = open_model(path)
        write_tokenizer(model.file, folder)
        for weight in model.weights.values():
            weight.read(torch.float16)
        return ""
    except ModelError as refusal:
        return str(refusal)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 50 * 2**20
        assert time.process_time() - began < 10


def check(refusals: list[str], path: Path) -> None:
    for refusal in filter(None, refusals):
        assert refusal.startswith(str(path))
        assert "\n" not in refusal
        assert len(refusal) < 600
        # What is wrong, and what to do.
        assert ": " in refusal.removeprefix(str(path)) or "; " in refusal


def test_the_whole_file_is_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "whole.gguf").write_bytes(content)
    assert outcome(tmp_path / "whole.gguf", tmp_path) == ""


def test_a_hundred_numbers_that_are_wrong(content: bytes, numbers: list[tuple[int, int]], tmp_path: Path) -> None:
    path, rng, refusals = tmp_path / "mutant.gguf", random.Random(0), []
    for start, size in rng.sample(numbers, 100):
        old = int.from_bytes(content[start : start + size], "little")
        new = rng.choice([*HOSTILE, old + 1, old - 1, old ^ (1 << rng.randrange(8 * size))]) % 256**size
        path.write_bytes(content[:start] + new.to_bytes(size, "little") + content[start + size :])
        refusals.append(outcome(path, tmp_path))
    check(refusals, path)
    # Some change what is only looked up: a token, the model's name.
    assert len(list(filter(None, refusals))) > 60


def test_a_hundred_bytes_that_are_wrong(content: bytes, tmp_path: Path) -> None:
    tensors = content.index(b"token_embd.weight")
    path, rng, refusals = tmp_path / "mutant.gguf", random.Random(0), []
    for number in range(100):
        mutant = bytearray(content)
        # In the vocabulary most changes change nothing but a token.
        start, end = ((4, 700), (tensors, tensors + 1500))[number % 2]
        for _ in range(1 + number % 3):
            mutant[rng.randrange(start, end)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(mutant)
        refusals.append(outcome(path, tmp_path))
    check(refusals, path)
    assert len(list(filter(None, refusals))) > 50


def test_cut_off_anywhere(content: bytes, tmp_path: Path) -> None:
    path, rng = tmp_path / "mutant.gguf", random.Random(0)
    cuts = [*range(0, 40), *(rng.randrange(len(content)) for _ in range(60))]
    refusals = []
    for cut in cuts:
        path.write_bytes(content[:cut])
        refusals.append(outcome(path, tmp_path))
    assert all(refusals)
    check(refusals, path)

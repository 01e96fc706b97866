"""GGUF files in several parts, as `llama-gguf-split` makes them."""

from pathlib import Path

import pytest
import torch

from beacon_cli.checkpoints.gguf.file import open_gguf
from beacon_cli.checkpoints.gguf.model import open_model
from beacon_cli.checkpoints.local.converted import find_converted
from beacon_cli.checkpoints.local.gguf_name import is_later_part, parts_of
from beacon_cli.checkpoints.model_source import locate_base
from beacon_cli.errors import ModelError
from tests.checkpoints.gguf.gguf_files import write


def parts(folder: Path) -> list[Path]:
    return [write(folder / "tiny.gguf", per_part=7).with_name(name) for name in parts_of("tiny-00001-of-00003.gguf")]


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        open_model(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_it_is_read_as_one(tmp_path: Path) -> None:
    whole = open_model(write(tmp_path / "whole.gguf"))
    for path in parts(tmp_path):
        split = open_model(path)
        assert split.config == whole.config
        assert split.weights.keys() == whole.weights.keys()
        for name, weight in whole.weights.items():
            assert torch.equal(split.weights[name].read(torch.float32), weight.read(torch.float32))


def test_it_is_converted_once_whichever_part_is_named(tmp_path: Path, cache_dir: Path) -> None:
    first, second, _ = parts(tmp_path)
    folder = locate_base(str(first), cache_dir).folder
    # A folder with nothing else in it is taken for the file.
    for name in (second, tmp_path):
        assert locate_base(str(name), cache_dir).folder == folder
    second.write_bytes(second.read_bytes()[:-1] + b"\1")
    assert find_converted(str(first)) is None


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    first, second, third = parts(tmp_path)
    third.unlink()
    assert f"put {third.name} beside it" in refusal(first)
    first.unlink()
    assert f"put {first.name}, {third.name} beside it" in refusal(second)


def test_a_part_that_is_cut_off_is_named(tmp_path: Path) -> None:
    first, second, _ = parts(tmp_path)
    content = second.read_bytes()
    second.write_bytes(content[:-123])
    assert refusal(first).startswith(f"{second} is cut off: 123 of its {len(content):,} bytes are missing")


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    first, second, third = parts(tmp_path)
    kept = third.read_bytes()
    third.write_bytes(second.read_bytes())
    assert f"{third} says that it is part 2 of 3, not 3 of 3" in refusal(first)
    third.write_bytes(kept)
    renamed = first.rename(tmp_path / "model.gguf")
    assert "let them end in -00001-of-00003.gguf" in refusal(renamed)
    renamed.rename(first)
    open_gguf(first)


def test_names_of_parts() -> None:
    assert parts_of("a/b-00002-of-00002.gguf") == ["a/b-00001-of-00002.gguf", "a/b-00002-of-00002.gguf"]
    for name in ("b.gguf", "b-00000-of-00000.gguf", "b-00003-of-00002.gguf", "b-1-of-2.gguf", "b-00001-of-00002.bin"):
        assert parts_of(name) == [name]
        assert not is_later_part(name)
    assert [is_later_part(f"b-0000{number}-of-00002.gguf") for number in (1, 2)] == [False, True]

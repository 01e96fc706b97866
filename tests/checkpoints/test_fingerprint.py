import hashlib
import json
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from beacon_cli.checkpoints.local.fingerprint import beacon_fingerprint, model_fingerprint, remembered
from beacon_cli.errors import ModelError

CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "rms_norm_eps": 1e-6}
SHARDS = {"model-00001-of-00002.safetensors": b"first", "model-00002-of-00002.safetensors": b"second"}
LONG_AGO = 1_700_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "new" / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A base model in two shards, with files beside it that are not its weights."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name, content in SHARDS.items():
        (folder / name).write_bytes(content)
    for name in ("beacon.safetensors", "consolidated.safetensors", "tokenizer.json", "README.md"):
        (folder / name).write_bytes(b"beside")
    (folder / "beacon_config.json").write_text(json.dumps({"settings": {"window": 8}, "base_name": "here"}))
    _age(folder)
    return folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content is read, in order."""
    names: list[str] = []
    digest = hashlib.file_digest

    def counting(file: "object", algorithm: str) -> "hashlib._Hash":
        names.append(Path(file.name).name)  # type: ignore[attr-defined]  # a real file
        return digest(file, algorithm)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(hashlib, "file_digest", counting)
    return names


def _age(folder: Path) -> None:
    """As if all files had been written long ago."""
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


FIRST, SECOND = SHARDS
# What is written into the folder, by what that changes.
CHANGES = {
    "shards change places": {FIRST: b"second", SECOND: b"first"},
    "a byte": {SECOND: b"Second"},
    "a byte moves to the shard before": {FIRST: b"firsts", SECOND: b"econd"},
    "one more shard": {"model-00003-of-00003.safetensors": b""},
    "a setting": {"config.json": json.dumps({**CONFIG, "rms_norm_eps": 1e-5}).encode()},
    "the architecture": {"config.json": json.dumps({**CONFIG, "architectures": ["MistralForCausalLM"]}).encode()},
}


def change(folder: Path, what: str) -> None:
    for name, content in CHANGES[what].items():
        (folder / name).write_bytes(content)


def test_a_copy_has_the_same_fingerprint(model: Path, cache: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    assert model_fingerprint(copy, cache) == model_fingerprint(model, cache)
    assert beacon_fingerprint(copy, cache) == beacon_fingerprint(model, cache)


@pytest.mark.parametrize("what", CHANGES)
def test_what_the_model_computes_decides(model: Path, cache: Path, what: str) -> None:
    before = model_fingerprint(model, cache)
    change(model, what)
    assert model_fingerprint(model, cache) != before


def test_what_does_not_change_the_model_does_not_count(model: Path, cache: Path) -> None:
    before = model_fingerprint(model, cache)
    config = {"torch_dtype": "float16", "auto_map": {"AutoModel": "x.Y"}, "transformers_version": "1", **CONFIG}
    (model / "config.json").write_text(json.dumps(config, indent=2))
    for name in ("beacon.safetensors", "consolidated.safetensors", "tokenizer.json"):
        (model / name).write_bytes(b"other")
    assert model_fingerprint(model, cache) == before


def test_a_beacon_is_its_weights_and_its_settings(model: Path, cache: Path) -> None:
    before = beacon_fingerprint(model, cache)
    change(model, "a byte")
    change(model, "a setting")
    assert beacon_fingerprint(model, cache) == before
    (model / "beacon.safetensors").write_bytes(b"beSide")
    other_weights = beacon_fingerprint(model, cache)
    (model / "beacon_config.json").write_text(json.dumps({"settings": {"window": 4}}))
    assert len({before, other_weights, beacon_fingerprint(model, cache)}) == 3


def test_no_file_is_hashed_twice(model: Path, cache: Path, hashed: list[str]) -> None:
    first = model_fingerprint(model, cache), beacon_fingerprint(model, cache)
    assert hashed == [*SHARDS, "beacon.safetensors"]
    assert (model_fingerprint(model, cache), beacon_fingerprint(model, cache)) == first
    assert len(hashed) == 3


def test_only_what_changed_is_hashed_again(model: Path, cache: Path, hashed: list[str]) -> None:
    before = model_fingerprint(model, cache)
    change(model, "a byte")
    assert model_fingerprint(model, cache) != before
    assert hashed == [*SHARDS, "model-00002-of-00002.safetensors"]


def test_a_file_that_took_the_place_of_another_is_hashed_again(model: Path, cache: Path) -> None:
    before = model_fingerprint(model, cache)
    (model / "new").write_bytes(b"First")
    _age(model)
    (model / "new").rename(model / "model-00001-of-00002.safetensors")
    assert model_fingerprint(model, cache) != before


def test_a_change_within_the_same_tick_of_the_clock_is_seen(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: LONG_AGO * 10**9 + 1_000_000)
    before = model_fingerprint(model, cache)
    change(model, "a byte")
    _age(model)
    assert model_fingerprint(model, cache) != before


def test_what_is_remembered_is_private(model: Path, cache: Path) -> None:
    model_fingerprint(model, cache)
    (memo,) = (cache / "fingerprints").iterdir()
    assert stat.S_IMODE(memo.stat().st_mode) == 0o600
    assert stat.S_IMODE(memo.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["", "[]", '{"model-00001-of-00002.safetensors": {"size": 5}}'])
def test_a_damaged_memo_is_replaced(model: Path, cache: Path, hashed: list[str], damage: str) -> None:
    before = model_fingerprint(model, cache)
    (memo,) = (cache / "fingerprints").iterdir()
    memo.write_text(damage)
    assert [model_fingerprint(model, cache) for _ in range(2)] == [before, before]
    assert hashed == [*SHARDS, *SHARDS]


def test_a_cache_that_cannot_be_written_is_no_error(model: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert model_fingerprint(model, blocked) == model_fingerprint(model, tmp_path / "cache")
    assert blocked.read_text() == "in the way"


CONTENT, HASH = "c" * 64, "5" * 64


def test_a_hash_is_computed_once_for_what_it_is_of(cache: Path) -> None:
    asked: list[str] = []

    def compute() -> str:
        asked.append(HASH)
        return HASH

    assert [remembered(CONTENT, cache, compute) for _ in range(3)] == [HASH] * 3
    assert len(asked) == 1
    assert remembered("d" * 64, cache, lambda: CONTENT) == CONTENT
    assert {stat.S_IMODE(memo.stat().st_mode) for memo in (cache / "fingerprints").iterdir()} == {0o600}


@pytest.mark.parametrize("damage", [b"", HASH[1:].encode(), HASH.encode() + b"\n", b"\xff" * 64])
def test_a_damaged_hash_is_computed_anew(cache: Path, damage: bytes) -> None:
    remembered(CONTENT, cache, lambda: HASH)
    (memo,) = (cache / "fingerprints").iterdir()
    memo.write_bytes(damage)
    assert remembered(CONTENT, cache, lambda: HASH) == HASH
    assert memo.read_text() == HASH


def test_a_hash_that_cannot_be_kept_is_computed(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert remembered(CONTENT, blocked, lambda: HASH) == HASH
    assert blocked.read_text() == "in the way"


@pytest.mark.parametrize("text", ["", "[]", "\xff"])
def test_a_damaged_config_is_named(model: Path, cache: Path, text: str) -> None:
    (model / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        model_fingerprint(model, cache)


def test_missing_files_are_named(model: Path, cache: Path, tmp_path: Path) -> None:
    (model / "beacon.safetensors").unlink()
    with pytest.raises(ModelError, match=r"beacon\.safetensors cannot be read"):
        beacon_fingerprint(model, cache)
    with pytest.raises(ModelError, match=r"nowhere cannot be read"):
        model_fingerprint(tmp_path / "nowhere", cache)


def test_a_file_of_the_hub_is_checked_against_its_checksum(model: Path, cache: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    blob = blobs / hashlib.sha256(b"first").hexdigest()
    path = model / "model-00001-of-00002.safetensors"
    path.unlink()
    path.symlink_to(Path("..") / "blobs" / blob.name)
    blob.write_bytes(b"first")
    model_fingerprint(model, cache)
    blob.write_bytes(b"worst")
    with pytest.raises(ModelError, match="does not match the hub's checksum and is deleted"):
        model_fingerprint(model, cache)
    assert not path.exists()
    assert not blob.exists()

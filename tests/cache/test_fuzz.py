"""Whatever stands in the files of a cache or an export: what is accepted is what was written, all else is refused.

`BEACON_FUZZ_INPUTS` says how many inputs are tried in all.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beacon_cli.cache.archive import Archive, export
from beacon_cli.cache.loading import read_shard
from beacon_cli.cache.manifest import Manifest, chain_link, parse_manifest, read_manifest
from beacon_cli.cache.shards import checksum, interval_tensors, unpack
from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError
from tests.cache import synthetic_cache
from tests.cache.synthetic_cache import build, check_message

INPUTS = int(os.environ.get("BEACON_FUZZ_INPUTS", "1200"))
STRANGE = [
    b"NaN", b"-1", b"1e999", b"9" * 5000, b"[" * 20000, b'{"a":' * 20000, b'"\\ud800"', b"\xff\xfe", b"null",
    b"../../x", b"true", b"0", b",", b"}", b"\0" * 512,
    (2**63).to_bytes(8, "little"), b"\xff" * 8,
]  # fmt: skip
Change = Callable[[bytes], bytes]
PLACE = st.integers(0, 2**20)


def _flip(bit: int) -> Change:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        if data:
            changed[bit // 8 % len(data)] ^= 1 << bit % 8
        return bytes(changed)

    return change


def _cut(place: int) -> Change:
    return lambda data: data[: place % (len(data) + 1)]


def _insert(place: int, piece: bytes, over: bool) -> Change:
    def change(data: bytes) -> bytes:
        at = place % (len(data) + 1)
        return data[:at] + piece + data[at + len(piece) * over :]

    return change


def _copy(source: int, length: int, target: int) -> Change:
    def change(data: bytes) -> bytes:
        at = source % (len(data) + 1)
        return _insert(target, data[at : at + length], over=True)(data)

    return change


CHANGES = st.lists(
    st.one_of(
        st.builds(_flip, st.integers(0, 2**23)),
        st.builds(_flip, st.integers(0, 8 * 600)),  # headers, mostly
        st.builds(_cut, PLACE),
        st.builds(_insert, PLACE, st.binary(max_size=9) | st.sampled_from(STRANGE), st.booleans()),
        st.builds(_copy, PLACE, st.integers(0, 600), PLACE),
        st.builds(lambda data: lambda _: data, st.binary(max_size=600) | st.sampled_from(STRANGE)),
    ),
    min_size=1,
    max_size=4,
)
fuzz = settings(max_examples=INPUTS // 4, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def changed(data: bytes, changes: list[Change]) -> bytes:
    for change in changes:
        data = change(data)
    return data


def as_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


class Original:
    """A cache and its export, as they were written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entry = build(folder / "cache")
        manifest = self.entry.manifest()
        assert manifest is not None
        self.manifest: Manifest = manifest
        self.manifest_bytes = (self.entry.folder / "manifest.json").read_bytes()
        self.shard = self.entry.folder / next(iter(manifest.files))
        self.shard_bytes = self.shard.read_bytes()
        export(self.entry, folder / "book.beacon")
        self.archive_bytes = (folder / "book.beacon").read_bytes()
        self.target = Store(folder / "target")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beacon_cli.cache.builder.SHARD_BYTES", synthetic_cache.SHARD_BYTES)
        return Original(tmp_path_factory.mktemp("fuzz"))


@fuzz
@given(changes=CHANGES)
def test_a_manifest(original: Original, changes: list[Change]) -> None:
    data = changed(original.manifest_bytes, changes)
    (original.entry.folder / "manifest.json").write_bytes(data)
    try:
        assert read_manifest(original.entry.folder) == original.manifest
        assert data == original.manifest_bytes
    except CacheError as error:
        check_message(error)
    finally:
        (original.entry.folder / "manifest.json").write_bytes(original.manifest_bytes)


@fuzz
@given(changes=CHANGES)
def test_a_shard(original: Original, changes: list[Change]) -> None:
    data = changed(original.shard_bytes, changes)
    original.shard.write_bytes(data)
    try:
        read_shard(original.entry.folder, original.manifest, 0)
        assert data == original.shard_bytes
    except CacheError as error:
        check_message(error)
    finally:
        original.shard.write_bytes(original.shard_bytes)


@fuzz
@given(changes=CHANGES)
def test_a_shard_whose_checksum_was_made_to_fit(original: Original, changes: list[Change]) -> None:
    """The chain has the last word: it holds for no other rows and no other tokens."""
    data = changed(original.shard_bytes, changes)
    try:
        tensors = unpack(as_tensor(data), original.manifest, 0)
    except (ValueError, RecursionError):
        return
    chain = ""
    for rows, tokens in interval_tensors(original.manifest, 0, tensors):
        chain = chain_link(chain, checksum(rows), tokens)
    if chain == original.manifest.intervals_of(0)[-1].chain:
        expected = unpack(as_tensor(original.shard_bytes), original.manifest, 0)
        assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("spoiled", ["negative", "not whole"])
def test_token_ids_that_are_none(original: Original, spoiled: str) -> None:
    data = as_tensor(original.shard_bytes).clone()
    if spoiled == "negative":
        unpack(data, original.manifest, 0)["tokens"][0] = -1
    else:
        data = as_tensor(original.shard_bytes.replace(b'"dtype":"I32"', b'"dtype":"F32"'))
    with pytest.raises(ValueError, match="token ids"):
        unpack(data, original.manifest, 0)


@fuzz
@given(changes=CHANGES)
def test_an_export(original: Original, changes: list[Change]) -> None:
    data = changed(original.archive_bytes, changes)
    path = original.folder / "changed.beacon"
    path.write_bytes(data)
    try:
        entry = Archive(path).install(original.target, None, replace_existing=True)
        assert data == original.archive_bytes
        original.target.remove(entry)
    except CacheError as error:
        check_message(error)
        assert not list((original.target.path / "documents").iterdir())


def test_the_original_is_accepted(original: Original) -> None:
    assert parse_manifest(original.manifest_bytes) == original.manifest
    read_shard(original.entry.folder, original.manifest, 0)
    original.target.remove(
        Archive(original.folder / "book.beacon").install(original.target, None, replace_existing=True)
    )

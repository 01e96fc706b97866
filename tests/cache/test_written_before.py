"""A cache that an earlier version wrote is read as it was meant; a rounded one is written the same today.

`written_by_0.1.0` is what that version made of the rows below; it is never written again.
"""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from activation_beacon.memory import Activations
from beacon_cli.cache.archive import Archive, export
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Compute, DocumentInfo, Identity, Models, Subject
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.quantization import rounded
from beacon_cli.cache.store import Store

WRITTEN = Path(__file__).parent / "written_by_0.1.0"
INTERVALS, TOKENS, ROWS, SINK_ROWS = 3, 8, 2, 1
TAIL = (7, 8, 9)
PAGES = (
    PageText(1, "i", "Bücher \ud800\n", 0, 12, "Front matter › To the reader"),
    PageText(2, "1", "", 12, INTERVALS * TOKENS + len(TAIL)),
)
IDENTITY = Identity(
    base="0b" * 32,
    beacon="be" * 32,
    tokenizer="70" * 32,
    window=TOKENS,
    stride=TOKENS,
    scheme={"pos": "interleave", "param": ["q", "k", "v"], "sink_size": SINK_ROWS},
    ratio=4,
    prompt_prefix=(0, 1),
    text_version=1,
    bits=16,
)
DOCUMENT = DocumentInfo("bücher.pdf", "/books/bücher.pdf", 1234, "d0" * 32, "Bücher", "pdf", "1-50,60-", 80)
MODELS, COMPUTE = Models("some-model", "/models/some-beacon"), Compute("cpu", "float32")


def made(first: int, rows: int) -> Activations:
    """Keys and values (2 layers, 1 head, rows, 4 channels) that no random numbers decide."""
    numbers = torch.arange(first, first + 2 * 2 * rows * 4, dtype=torch.float32)
    keys, values = (numbers % 13 / 8 - 0.75).reshape(2, 2, 1, rows, 4)
    return Activations(keys, values)


def tokens(interval: int) -> list[int]:
    return [100 * interval + number for number in range(TOKENS)]


def subject(bits: int) -> Subject:
    return Subject(replace(IDENTITY, bits=bits), DOCUMENT, MODELS, COMPUTE)


def build(store: Store, bits: int) -> Entry:
    """Build the cache, or go on with it."""
    entry = store.entry_of_key(subject(bits).key)
    with entry.builder(subject(bits)) as builder:
        for interval in range(len(builder.manifest.intervals), INTERVALS):
            sink = None if interval else made(999, SINK_ROWS)
            builder.add(tokens(interval), 4, made(50 * interval, ROWS), sink)
        if not builder.manifest.complete:
            builder.finish(TAIL, PAGES, ["page 3 holds only a picture"])
    return entry


def contents(entry: Entry) -> dict[str, bytes]:
    """The files by name; of the manifest, without when and by which version it was written."""
    files = {path.name: path.read_bytes() for path in entry.folder.iterdir()}
    when = rb'"(checksum|created|tool_version)":"[^"]*"'
    files["manifest.json"] = re.sub(when, b"", files["manifest.json"])
    return files


@pytest.fixture(autouse=True)
def _two_intervals_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beacon_cli.cache.builder.SHARD_BYTES", 300)
    monkeypatch.setattr("beacon_cli.cache.builder.MAX_INTERVALS_PER_SHARD", 2)


@pytest.fixture
def before(tmp_path: Path) -> Store:
    """The earlier version's caches, in a folder that nobody else can write whatever git made of it."""
    root = tmp_path / "before"
    shutil.copytree(WRITTEN, root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return Store(root)


@pytest.mark.parametrize("bits", [16, 4])
def test_it_is_read_as_it_was_meant(before: Store, bits: int) -> None:
    entry = before.entry_of_key(subject(bits).key)
    manifest = entry.manifest()
    assert manifest is not None
    assert manifest.complete
    assert (manifest.subject, manifest.tool_version) == (subject(bits), "0.1.0")
    assert manifest.warnings == ("page 3 holds only a picture",)
    assert entry.pages() == PAGES
    memory = entry.open()
    assert memory.tokens() == [*(token for interval in range(INTERVALS) for token in tokens(interval)), *TAIL]
    sink, *shards = memory
    assert torch.equal(sink.keys, made(999, SINK_ROWS).keys)
    for name in ("keys", "values"):
        given = torch.cat([getattr(made(50 * interval, ROWS), name) for interval in range(INTERVALS)], dim=2)
        stored = torch.cat([getattr(shard, name) for shard in shards], dim=2)
        assert torch.equal(stored, given if bits == 16 else rounded(given, bits))


@pytest.mark.parametrize("bits", [16, 4])
def test_today_the_same_bytes_are_written_and_cut_ones_gone_on_with(before: Store, store: Store, bits: int) -> None:
    """But for 16 bits, which were float32 then: no build goes on from those."""
    old = before.entry_of_key(subject(bits).key)
    written, today = contents(old), contents(build(store, bits))
    assert (today == written) == (bits == 4)
    sorted(old.folder.glob("memory-00001*"))[0].unlink()
    assert contents(build(before, bits)) == today


def test_it_is_exported_and_imported(before: Store, store: Store, tmp_path: Path) -> None:
    old = before.entry_of_key(subject(16).key)
    export(old, tmp_path / "book.beacon")
    new = Archive(tmp_path / "book.beacon").install(store, None, replace_existing=False)
    assert new.open().tokens() == old.open().tokens()
    assert new.pages() == PAGES

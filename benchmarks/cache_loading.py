"""Loading a condensed memory, every byte checked, against a plain read of the same bytes.

    python benchmarks/cache_loading.py [ROWS]

A made-up memory of the shapes of the default model (30 layers, 3 key/value heads of 64 channels; 8,192 rows by default,
189 MB). "checked" hashes it on the way into buffers of its own; "placed" also converts it to float32, and rotates the
keys to their positions in the model's memory. Warm files are in the operating system's cache, cold ones are not.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from activation_beacon.memory import Activations, SequenceMemory
from activation_beacon.rotary import Rotary
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Compute, DocumentInfo, Identity, Models, Subject
from beacon_cli.cache.store import Store

LAYERS, HEADS, CHANNELS, INTERVAL = 30, 3, 64, 64


def build(folder: Path, rows: int) -> Entry:
    """A cache of so many rows."""
    identity = Identity("base", "beacon", "tokenizer", 512, 512, {}, 8, (), 1, 16)
    document = DocumentInfo("book.txt", "-", 1, "0" * 64, None, "text", "1", 1)
    subject = Subject(identity, document, Models("base", "beacon"), Compute("cpu", "float32"))
    entry = Store(folder).entry(identity, document.sha256, document.selection)
    with entry.builder(subject) as builder:
        for index in range(rows // INTERVAL):
            keys, values = torch.randn(2, LAYERS, HEADS, INTERVAL, CHANNELS)
            builder.add([index] * 512, 8, Activations(keys, values))
        builder.finish((), ())
    return entry


def read(entry: Entry) -> None:
    """Read all shards into one buffer, shard by shard."""
    for path in sorted(entry.folder.glob("*.safetensors")):
        buffer = bytearray(path.stat().st_size)
        with path.open("rb", buffering=0) as file:
            file.readinto(buffer)


def check(entry: Entry) -> None:
    for _ in entry.open():
        pass


def place(entry: Entry) -> None:
    frequencies = 1.0 / 500_000 ** (torch.arange(0, CHANNELS, 2) / CHANNELS)
    memory = SequenceMemory(LAYERS, Rotary(frequencies, 1.0))
    stored = entry.open()
    for rows in stored:
        memory.append(rows, torch.float32, stored.manifest.rows)


def seconds(work: Callable[[Entry], None], entry: Entry, cold: bool) -> float:
    """The median of five runs."""
    times = []
    for _ in range(5):
        for path in entry.folder.iterdir() if cold else ():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        began = time.perf_counter()
        work(entry)
        times.append(time.perf_counter() - began)
    return sorted(times)[2]


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 8192
    with tempfile.TemporaryDirectory() as name:
        entry = build(Path(name), rows)
        size = sum(path.stat().st_size for path in entry.folder.glob("*.safetensors"))
        print(f"{size / 1e9:.2f} GB, {torch.get_num_threads()} threads")
        print("| | warm | | cold | |\n|---|---|---|---|---|")
        for label, work in (("plain read", read), ("checked", check), ("placed", place)):
            warm, cold = (seconds(work, entry, each) for each in (False, True))
            cells = " | ".join(f"{taken:.2f} s | {size / taken / 1e9:.1f} GB/s" for taken in (warm, cold))
            print(f"| {label} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

"""Caches of made-up activations, built in the test's process or, run as a script, in others.

python synthetic_cache.py build ROOT        build one in ROOT with a pause of a second, telling when it begins and ends
python synthetic_cache.py limited ROOT      the same where no file can grow beyond 2 kB
python synthetic_cache.py kill ROOT         for each system call of a build: kill one there, in ROOT/<number>; resume
python synthetic_cache.py soak ROOT KILLS   in ROOT/<number>: kill at random calls until one comes through; again until
                                            there were so many kills; for each build, tell how many it took
"""

import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from activation_beacon.memory import Activations
from beacon_cli.cache import builder
from beacon_cli.cache.builder import Builder
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Compute, DocumentInfo, Identity, Models, Subject, cache_key
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError

LAYERS, HEADS, ROWS, DIM, TOKENS = 2, 2, 4, 8, 16
INTERVALS, INTERVALS_PER_SHARD = 8, 3
INTERVAL_BYTES = 2 * 2 * LAYERS * HEADS * ROWS * DIM
SHARD_BYTES = INTERVALS_PER_SHARD * INTERVAL_BYTES + 100
TAIL = (5, 6, 7)
STREAM = INTERVALS * TOKENS + len(TAIL)
PAGES = (PageText(1, "i", "One\ud800 \u00e9", 0, 70), PageText(2, "1", "", 70, STREAM))
CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir")

IDENTITY = Identity("base", "beacon", "tokens", 16, 16, {"pos": "interleave", "sink_size": 2}, 4, (1, 2), 1, 16)
DOCUMENT = DocumentInfo("b\u00fccher.pdf", "/books/b\u00fccher.pdf", 1234, "ab" * 32, None, "pdf", "1-50,60-", 80)
SUBJECT = Subject(IDENTITY, DOCUMENT, Models("pocket", "pocket-beacon"), Compute("cpu", "float32"))
KEY = cache_key(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection)


def rows(seed: int, count: int = ROWS, dtype: torch.dtype = torch.float32) -> Activations:
    """Keys and values of one interval, of numbers that 16 bits hold."""
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, LAYERS, HEADS, count, DIM, generator=generator).half().to(dtype)
    return Activations(keys, values)


SINK = rows(999, 2)


def tokens(index: int) -> list[int]:
    return [index * TOKENS + offset for offset in range(TOKENS)]


def entry_in(root: Path) -> Entry:
    return Store(root).entry(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection)


def fill(cache: Builder, first: int = 0, end: int = INTERVALS, seed: int = 0) -> None:
    """Add intervals `first` to `end`."""
    for index in range(first, end):
        cache.add(tokens(index), 4, rows(seed + index), sink=None if index else SINK)


def build(root: Path, seed: int = 0, refresh: bool = False) -> Entry:
    """Build the cache, or go on with it."""
    entry = entry_in(root)
    with entry.builder(SUBJECT, refresh=refresh) as cache:
        if not cache.manifest.complete:
            fill(cache, len(cache.manifest.intervals), seed=seed)
            cache.finish(TAIL, PAGES)
    return entry


def check_message(error: CacheError, *parts: str) -> None:
    """A message is one line of bearable length that has these parts."""
    message = str(error)
    assert "\n" not in message
    assert len(message) < 1000
    assert all(part in message for part in parts), message


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a cache by name, the manifest's time of creation, and with it the checksum, blanked."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["manifest.json"] = re.sub(rb'"(checksum|created)":"[^"]*"', b"", files["manifest.json"])
    return files


class Interposed:
    """A context in which `action(name, call, arguments)` stands for call number `point` (from 0) into `os`."""

    def __init__(self, point: int, action: Callable[[str, Callable[..., Any], Sequence[Any]], Any]) -> None:
        self.point, self.action, self.count = point, action, 0
        self._patches = [mock.patch.object(os, name, self._wrap(name, getattr(os, name))) for name in CALLS]

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count - 1 == self.point:
                return self.action(name, call, arguments)
            return call(*arguments, **options)

        return counted

    def __enter__(self) -> "Interposed":
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()


def die(name: str, call: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """A kill -9, half-way through if it is a write."""
    if name == "write":
        call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def survives(root: Path, point: int) -> bool:
    """Build in a forked process that is killed at call number `point`, if it gets there."""
    child = os.fork()
    if not child:
        with Interposed(point, die):
            build(root)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main(command: str, root: Path) -> None:
    torch.set_num_threads(1)
    builder.SHARD_BYTES = SHARD_BYTES
    if command == "build":
        build_slowly(root)
    elif command == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            build(root)
        except CacheError as error:
            print(error)
    elif command == "kill":
        point = 0
        while not survives(root / str(point), point):
            print(len((entry_in(root / str(point)).manifest() or mock.Mock(intervals=())).intervals))
            build(root / str(point))
            point += 1
    elif command == "soak":
        draw, kills, number = random.Random(0), 0, 0
        while kills < int(sys.argv[3]):
            before = kills
            while not survives(root / str(number), draw.randrange(30)):
                kills += 1
            print(kills - before)
            number += 1


def build_slowly(root: Path) -> None:
    with entry_in(root).builder(SUBJECT) as cache:
        print("building", flush=True)
        fill(cache, 0, 5)
        time.sleep(1)
        fill(cache, 5)
        cache.finish(TAIL, PAGES)
        print("finished", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

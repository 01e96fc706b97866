"""A memory on its way from disk into the model: every byte is read once, checked, and copied once."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from activation_beacon.memory import Activations
from beacon_cli.cache.damage import DamageError, check_size, unreadable
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.shards import Tensors, decode_intervals, decode_sink, is_current, unpack

# One thread hashes 1.5 GB/s, a quarter of what memory delivers; shards in flight take up to 16 MiB each.
THREADS = 4
_PIECE = 2**20


class StoredMemory:
    """A condensed memory on disk, all of whose files were there, in the right size, when it was opened.

    Iterating reads the shards, some ahead of the one that is handed out, into buffers of their own; a shard is handed
    out only once all its bytes were found to match its checksum. What was hashed is what is handed out, whatever
    happens to the file. Every use of a memory pays for this: a damaged one must not answer.

    Attributes:
        manifest: the durable state that was opened, the tail's token ids included.
    """

    def __init__(self, folder: Path, manifest: Manifest, device: str | torch.device) -> None:
        """Look at the shards that `manifest` names.

        Raises:
            CacheError: if one is missing or not as long as it should be.
        """
        self.manifest = manifest
        self._folder = folder
        self._device = torch.device(device)
        for index, shard in enumerate(manifest.shards):
            path = folder / shard.file_name(index)
            try:
                check_size(path, path.stat(), shard.size)
            except OSError as error:
                raise unreadable(path, error) from error

    @property
    def is_current(self) -> bool:
        """Whether a build can go on from it: its rows are what they would be if they were condensed today.

        Raises:
            CacheError: if its first shard is damaged.
        """
        manifest = self.manifest
        return not manifest.shards or is_current(read_shard(self._folder, manifest, 0), manifest.subject.identity.bits)

    def __iter__(self) -> Iterator[Activations]:
        """All rows, on the device, in their order: the sink, then those of each shard, or of each interval.

        Raises:
            CacheError: if a shard is damaged, or not what the manifest says.
        """
        for rows in self.read(range(len(self.manifest.shards))):
            yield from rows

    def read(self, indices: Sequence[int]) -> Iterator[list[Activations]]:
        """The same of some shards.

        Raises:
            CacheError: as for all.
        """
        for index, tensors in zip(indices, self.shards(indices), strict=True):
            placed = {name: tensor.to(self._device) for name, tensor in tensors.items() if name != "tokens"}
            sink = decode_sink(placed)
            yield [*(() if sink is None else (sink,)), *decode_intervals(self.manifest, index, placed)]

    def shards(self, indices: Sequence[int] | None = None) -> Iterator[Tensors]:
        """The contents of shards, or of all of them, on the CPU, as `shards.unpack` names them.

        Raises:
            CacheError: as for rows.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            ahead: deque[Future[Tensors]] = deque()
            pinned = self._device.type == "cuda"
            try:
                for index in range(len(self.manifest.shards)) if indices is None else indices:
                    ahead.append(pool.submit(read_shard, self._folder, self.manifest, index, pinned))
                    if len(ahead) > THREADS:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def tokens(self) -> list[int]:
        """The token ids of the whole stream: prompt prefix, intervals, tail."""
        ids = [token for tensors in self.shards() for token in tensors["tokens"].tolist()]
        return [*ids, *self.manifest.tail]


def read_shard(folder: Path, manifest: Manifest, index: int, pinned: bool = False) -> Tensors:
    """The contents of shard `index`, read and checked in one go.

    Args:
        pinned: read into memory that a CUDA device can fetch from by itself.

    Raises:
        CacheError: if it is missing, damaged, or not what the manifest says.
    """
    shard = manifest.shards[index]
    path = folder / shard.file_name(index)
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            check_size(path, os.fstat(file.fileno()), shard.size)
            data = torch.empty(shard.size, dtype=torch.uint8, pin_memory=pinned)
            rest = memoryview(data.numpy())  # type: ignore[arg-type]  # numpy's own
            while rest and (count := file.readinto(rest[:_PIECE])):
                digest.update(rest[:count])
                rest = rest[count:]
    except OSError as error:
        raise unreadable(path, error) from error
    if rest or digest.hexdigest() != shard.sha256:
        raise DamageError(folder, f"{path.name} does not match its checksum")
    try:
        return unpack(data, manifest, index)
    except (ValueError, RecursionError) as error:
        raise DamageError(folder, f"{path.name} is malformed: {error}") from error

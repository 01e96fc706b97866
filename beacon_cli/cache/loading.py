"""A memory on its way from disk into the model: every byte is read once, and checked."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from activation_beacon.memory import Activations
from beacon_cli.cache.damage import DamageError, check_size, read_checked, unreadable
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.shards import WIDTHS, Tensors, decode_intervals, decode_sink, unpack

# One thread hashes 1.5 GB/s, a quarter of what memory delivers; shards in flight take up to 16 MiB each.
THREADS = 4


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
        current = WIDTHS[self.manifest.subject.identity.bits][0]
        return not self.manifest.shards or read_shard(self._folder, self.manifest, 0)["keys"].dtype == current

    def __iter__(self) -> Iterator[Activations]:
        """All rows, on the device, in their order: the sink, then those of each shard, or of each interval.

        Raises:
            CacheError: if a shard is damaged, or not what the manifest says.
        """
        for index, tensors in enumerate(self.shards()):
            placed = {name: tensor.to(self._device) for name, tensor in tensors.items() if name != "tokens"}
            sink = decode_sink(placed)
            if sink is not None:
                yield sink
            yield from decode_intervals(self.manifest, index, placed)

    def shards(self) -> Iterator[Tensors]:
        """The contents of the shards, on the CPU, as `shards.unpack` names them.

        Raises:
            CacheError: as for rows.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            ahead: deque[Future[Tensors]] = deque()
            try:
                for index in range(len(self.manifest.shards)):
                    ahead.append(pool.submit(read_shard, self._folder, self.manifest, index))
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


def read_shard(folder: Path, manifest: Manifest, index: int) -> Tensors:
    """The contents of shard `index`, read and checked in one go.

    Raises:
        CacheError: if it is missing, damaged, or not what the manifest says.
    """
    shard = manifest.shards[index]
    path = folder / shard.file_name(index)
    try:
        return unpack(read_checked(path, shard.size, shard.sha256), manifest, index)
    except ValueError as error:
        raise DamageError(folder, f"{path.name} is malformed: {error}") from error

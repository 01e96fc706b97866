"""Activations in safetensors files: the only module of the store that imports torch, itself imported when needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from beacon_cli.store.files import damaged, what_is_wrong
from beacon_cli.store.manifest import Manifest


@dataclass(frozen=True)
class Rows:
    """Keys (position-free) and values of some rows of memory, each (layers, kv_heads, rows, head_dim)."""

    keys: Tensor
    values: Tensor

    @property
    def count(self) -> int:
        """How many rows."""
        return self.keys.shape[2]


@dataclass(frozen=True)
class ShardData(Rows):
    """The contents of a shard.

    Attributes:
        tokens: (tokens) int32, ids of its intervals' tokens.
        first_row: which row of the condensed memory its first one is, the sink not counted.
    """

    tokens: Tensor
    first_row: int


def copied(keys: Tensor, values: Tensor) -> Rows:
    """Copies of both on the CPU, safe from what the model does with its buffers next.

    Raises:
        ValueError: if the shapes differ or are not (layers, kv_heads, rows, head_dim) with at least one row.
    """
    if keys.ndim != 4 or keys.shape != values.shape or not keys.shape[2]:
        raise ValueError(f"keys {tuple(keys.shape)} and values {tuple(values.shape)} are no rows of memory")
    return Rows(keys.detach().to("cpu", copy=True), values.detach().to("cpu", copy=True))


def pack(intervals: Sequence[Rows], tokens: Sequence[int], sink: Rows | None) -> bytes:
    """The bytes of a shard file; the same contents give the same bytes."""
    tensors = {
        "keys": torch.cat([interval.keys for interval in intervals], dim=2),
        "values": torch.cat([interval.values for interval in intervals], dim=2),
        "tokens": torch.tensor(tokens, dtype=torch.int32),
    }
    if sink is not None:
        tensors |= {"sink_keys": sink.keys.contiguous(), "sink_values": sink.values.contiguous()}
    return save(tensors)


class StoredMemory:
    """A condensed memory on disk, all of whose shards were found whole when it was opened.

    Shards are mapped; each goes to the device once, when it is iterated over. On the CPU their tensors are views of the
    files and stay valid when these are removed. Let go of the object once its rows are copied.

    Opening hashes every byte (about 1.4 GB/s), also of memories beyond 1 GB: a damaged memory must not answer, and
    condensing the document again would take a thousand times longer.

    Attributes:
        manifest: the durable state that was opened, the tail's token ids included.
        sink: the rows kept from before the first interval; they come before all others.
    """

    def __init__(self, folder: Path, manifest: Manifest, device: str | torch.device) -> None:
        """Check and map the shards that `manifest` names.

        Raises:
            CacheError: if one is missing, damaged, or not what the manifest says.
        """
        self.manifest = manifest
        self._shards = [_open_shard(folder, manifest, index, device) for index in range(len(manifest.shards))]
        self.sink: Rows | None = None
        if manifest.sink_rows:
            first = self._shards[0]
            self.sink = Rows(first.get_tensor("sink_keys"), first.get_tensor("sink_values"))

    def __iter__(self) -> Iterator[ShardData]:
        """The shards in the order of their rows."""
        first_row = 0
        for shard, file in zip(self.manifest.shards, self._shards, strict=True):
            keys, values, tokens = (file.get_tensor(name) for name in ("keys", "values", "tokens"))
            yield ShardData(keys, values, tokens, first_row)
            first_row += shard.rows

    def tokens(self) -> list[int]:
        """The token ids of the whole stream: prompt prefix, intervals, tail."""
        ids = [token for file in self._shards for token in file.get_tensor("tokens").tolist()]
        return [*ids, *self.manifest.tail]


def _open_shard(folder: Path, manifest: Manifest, index: int, device: str | torch.device) -> Any:
    shard = manifest.shards[index]
    path = folder / shard.file_name(index)
    wrong = what_is_wrong(path, shard.size, shard.sha256)
    if wrong:
        raise damaged(folder, wrong)
    try:
        # Any: safetensors leaves the methods of its files untyped.
        file: Any = safe_open(path, framework="pt", device=str(device))
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError) as error:
        raise damaged(folder, f"{path.name} cannot be read ({error})") from error
    if shapes != _expected_shapes(manifest, index, shapes.get("keys", ())):
        raise damaged(folder, f"{path.name} does not hold what the manifest says")
    return file


def _expected_shapes(manifest: Manifest, index: int, keys: tuple[int, ...]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of shard `index` by name, given the number of layers, heads and channels that `keys` shows."""
    if len(keys) != 4:
        return None
    layers, kv_heads, _, head_dim = keys
    rows = (layers, kv_heads, manifest.shards[index].rows, head_dim)
    size = manifest.intervals_per_shard
    tokens = sum(interval.tokens for interval in manifest.intervals[index * size : (index + 1) * size])
    shapes: dict[str, tuple[int, ...]] = {"keys": rows, "values": rows, "tokens": (tokens,)}
    if index == 0 and manifest.sink_rows:
        sink = (layers, kv_heads, manifest.sink_rows, head_dim)
        shapes |= {"sink_keys": sink, "sink_values": sink}
    return shapes

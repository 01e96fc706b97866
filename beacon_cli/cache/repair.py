"""Finding what is damaged in a cache, and putting it back; what is whole is left alone."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from beacon_cli.cache.damage import Damage, DamageError
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.manifest import MANIFEST, Manifest, chain_link
from beacon_cli.cache.pages import Pages, PageText, read_pages
from beacon_cli.durable.files import write_durably
from beacon_cli.durable.locks import no_builder
from beacon_cli.durable.records import seal, to_json
from beacon_cli.errors import CacheError

if TYPE_CHECKING:
    from activation_beacon.memory import Activations


def examine(folder: Path, manifest: Manifest) -> Iterator[Damage]:
    """Read everything that `manifest` names: every byte against its checksum, every checksum against the chain.

    Without a builder's lock or `Entry.in_use`, files may be replaced meanwhile.
    """
    from beacon_cli.cache.loading import read_shard  # noqa: PLC0415  imports torch
    from beacon_cli.cache.shards import checksum, interval_tensors  # noqa: PLC0415  imports torch

    for index in range(len(manifest.shards)):
        try:
            tensors = read_shard(folder, manifest, index)
        except DamageError as error:
            yield Damage(error.what, index)
            continue
        first = manifest.intervals_of(index)[0]
        chain = manifest.intervals[index * manifest.intervals_per_shard - 1].chain if first.start else ""
        cut = interval_tensors(manifest, index, tensors)
        for interval, (rows, tokens) in zip(manifest.intervals_of(index), cut, strict=True):
            chain = chain_link(chain, checksum(rows), tokens)
            if chain != interval.chain:
                yield Damage(f"tokens and rows from token {interval.start} on are not those of the chain", index)
                break
    if manifest.complete:
        try:
            read_pages(folder, manifest)
        except DamageError as error:
            yield Damage(error.what, None)


@contextmanager
def repairing(entry: Entry) -> Iterator["Repair"]:
    """Keep builders away from a cache, waiting for one that is at it, and find what is damaged.

    Raises:
        CacheError: if the manifest itself cannot be used, or is gone.
    """
    with no_builder(entry.lock, wait=True):
        manifest = entry.manifest()
        if manifest is None:
            raise CacheError(f"cache {entry.key} is not there any more; `beacon cache list` shows what is")
        yield Repair(entry, manifest, tuple(examine(entry.folder, manifest)))


@dataclass
class Repair:
    """The right to mend one cache, see `repairing`.

    Everything it puts back has the checksum that it had; the manifest stays as it is, unless the cache is cut.

    Attributes:
        entry: the cache.
        manifest: what should be there.
        damage: what is not.
    """

    entry: Entry
    manifest: Manifest
    damage: tuple[Damage, ...]

    def put_shard(
        self,
        index: int,
        intervals: "Sequence[Activations]",
        tokens: Sequence[int],
        sink: "Activations | None" = None,
    ) -> bool:
        """Write shard `index` again, if what it is to hold makes the bytes that it had; whether it does.

        Args:
            intervals: not rounded, as for `Builder.add`.
            tokens: ids of all its intervals.
            sink: with the first shard only, if there is one.

        Raises:
            CacheError: if it cannot be written.
        """
        from beacon_cli.cache.shards import encode, encode_sink, pack  # noqa: PLC0415  imports torch

        bits = self.manifest.subject.identity.bits
        rows = [encode(interval, bits) for interval in intervals]
        data = pack(rows, tokens, encode_sink(sink))
        shard = self.manifest.shards[index]
        return self._put(shard.file_name(index), data, shard.sha256)

    def put_pages(self, pages: Sequence[PageText]) -> bool:
        """Write the page texts again, if these are what they were; whether they are.

        Raises:
            CacheError: if they cannot be written.
        """
        file = self.manifest.pages
        return file is not None and self._put(file.file_name, to_json(Pages(tuple(pages))), file.sha256)

    def cut(self, shards: int) -> None:
        """Keep the first `shards` shards only: an unfinished cache, which a builder goes on with.

        Raises:
            CacheError: if the manifest cannot be written.
        """
        self.manifest = self.manifest.truncated(shards)
        write_durably(self.entry.folder / MANIFEST, seal(self.manifest))

    def _put(self, name: str, data: bytes, sha256: str) -> bool:
        if hashlib.sha256(data).hexdigest() != sha256:
            return False
        write_durably(self.entry.folder / name, data)
        return True

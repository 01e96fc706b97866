"""Putting back what is damaged in a cache, and leaving alone what is not."""

import hashlib
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from beacon_cli.cache.checking import Damage, examine
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.manifest import MANIFEST, Manifest
from beacon_cli.cache.pages import Pages, PageText
from beacon_cli.durable.files import write_durably
from beacon_cli.durable.locks import acquire, builders
from beacon_cli.durable.records import seal, to_json
from beacon_cli.errors import CacheError

if TYPE_CHECKING:
    from beacon_cli.cache.shards import Rows


class Repair:
    """The right to mend one cache: a context that keeps builders away, and waits for one that is at it.

    Everything it puts back has the checksum that it had; the manifest stays as it is, unless the cache is cut.

    Attributes:
        entry: the cache.
        manifest: what should be there.
        damage: what is not, found on entry.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.manifest: Manifest
        self.damage: tuple[Damage, ...] = ()
        self._lock = builders(entry.lock)

    def __enter__(self) -> Self:
        """Wait for the lock, and look for damage.

        Raises:
            CacheError: if the manifest itself cannot be used, or is gone.
        """
        acquire(self._lock, wait=True)
        try:
            manifest = self.entry.manifest()
            if manifest is None:
                raise CacheError(f"cache {self.entry.key} is not there any more; `beacon cache list` shows what is")
            self.manifest = manifest
            self.damage = tuple(examine(self.entry.folder, manifest))
        except BaseException:
            self._lock.release(force=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release(force=True)

    def put_shard(
        self, index: int, intervals: "Sequence[Rows]", tokens: Sequence[int], sink: "Rows | None" = None
    ) -> bool:
        """Write shard `index` again, if what it is to hold makes the bytes that it had; whether it does.

        Args:
            intervals: not rounded, as for `Builder.add`.
            tokens: ids of all its intervals.
            sink: with the first shard only, if there is one.

        Raises:
            CacheError: if it cannot be written.
        """
        from beacon_cli.cache.shards import copied, encode, encode_sink, pack  # noqa: PLC0415  imports torch

        bits = self.manifest.subject.identity.bits
        rows = [encode(copied(interval.keys, interval.values), bits) for interval in intervals]
        data = pack(rows, tokens, encode_sink(None if sink is None else copied(sink.keys, sink.values)))
        shard = self.manifest.shards[index]
        if hashlib.sha256(data).hexdigest() != shard.sha256:
            return False
        write_durably(self.entry.folder / shard.file_name(index), data)
        return True

    def put_pages(self, pages: Sequence[PageText]) -> bool:
        """Write the page texts again, if these are what they were; whether they are.

        Raises:
            CacheError: if they cannot be written.
        """
        file, data = self.manifest.pages, to_json(Pages(tuple(pages)))
        if file is None or hashlib.sha256(data).hexdigest() != file.sha256:
            return False
        write_durably(self.entry.folder / file.file_name, data)
        return True

    def cut(self, shards: int) -> None:
        """Keep the first `shards` shards only: an unfinished cache, which a builder goes on with.

        Raises:
            CacheError: if the manifest cannot be written.
        """
        self.manifest = self.manifest.truncated(shards)
        write_durably(self.entry.folder / MANIFEST, seal(self.manifest))

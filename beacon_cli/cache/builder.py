"""Writing the cache of one document, so that a build killed at any instant goes on where it was."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from beacon_cli.cache.damage import unreadable
from beacon_cli.cache.identity import Subject
from beacon_cli.cache.leftovers import discard, tidy, trustworthy
from beacon_cli.cache.manifest import (
    MANIFEST,
    MAX_INTERVALS_PER_SHARD,
    Interval,
    Manifest,
    PagesFile,
    Shard,
    chain_link,
    read_manifest,
)
from beacon_cli.cache.origin import forget_origin
from beacon_cli.cache.pages import Pages, PageText
from beacon_cli.durable.files import make_private_folder, share_durably, write_durably, write_error
from beacon_cli.durable.locks import acquire, builders
from beacon_cli.durable.records import check_token_ids, seal, to_json
from beacon_cli.errors import CacheError

if TYPE_CHECKING:
    import torch

    from activation_beacon.memory import Activations
    from beacon_cli.cache.loading import StoredMemory
    from beacon_cli.cache.shards import Tensors

SHARD_BYTES = 16 * 2**20


@dataclass(frozen=True)
class _Pending:
    """An interval that is not durable yet."""

    interval: Interval
    tokens: tuple[int, ...]
    rows: "Tensors"


class Builder:
    """The one writer of one cache: a context that holds its lock.

    On entry, files that no durable state names are removed, and every file that one names is checked; shards from the
    first damaged one on are dropped. On exit without `finish`, intervals after the last full shard are dropped.

    With `refresh`, nothing of before is used. A complete cache then stays whole until the new one is: the new files
    take their place beside it; an interrupted refresh leaves the old cache, and starts over next time.

        builder = entry.builder(subject)
        if not builder.try_lock():
            ...  # tell the user that another process is at it
        with builder:  # waits
            if not builder.manifest.complete:
                ...  # check_token_prefix, memory, then add and finish

    Attributes:
        folder: where it writes.
        manifest: what is durable; within a refresh, what will be once it is finished.
    """

    def __init__(self, folder: Path, lock: Path, use: Path, subject: Subject, refresh: bool) -> None:
        self.manifest = Manifest.begin(subject)
        self.folder = folder
        self._lock = builders(lock)
        self._use = use
        self._refresh = refresh
        self._keep_old = False
        self._pending: list[_Pending] = []
        self._sink: Tensors = {}

    def try_lock(self) -> bool:
        """Take the lock unless another process has it; say whether it is ours."""
        return acquire(self._lock, wait=False)

    def __enter__(self) -> Self:
        """Wait for the lock and find out what is durable.

        Raises:
            CacheError: if the folder cannot be read or written, or (unless refreshing) its manifest is malformed.
        """
        acquire(self._lock, wait=True)
        try:
            self._recover()
        except BaseException:
            self._lock.release(force=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # What cannot be tidied now is tidied by the next build; it must not hide the reason for leaving.
            with suppress(CacheError):
                tidy(self.folder, self._use)
        finally:
            self._lock.release(force=True)

    def memory(self, device: "str | torch.device" = "cpu") -> "StoredMemory":
        """The memory of the intervals to go on from.

        Raises:
            CacheError: if a shard has been removed meanwhile; iterating finds one that was damaged meanwhile.
        """
        from beacon_cli.cache.loading import StoredMemory  # noqa: PLC0415  imports torch

        return StoredMemory(self.folder, self.manifest, device)

    def check_token_prefix(self, tokens: Sequence[int]) -> bool:
        """Whether the document, read again, begins with the tokens of the durable intervals.

        If not, what is durable is discarded: the build starts over.

        Args:
            tokens: of the stream (prompt prefix included), at least `manifest.condensed_tokens` if it has so many.

        Raises:
            CacheError: if it cannot be discarded.
        """
        if self.manifest.shared_intervals(tokens) == len(self.manifest.intervals):
            return True
        self._start_over()
        return False

    def take_over(self, folder: Path, earlier: Manifest, intervals: int) -> None:
        """Begin with the first intervals of another cache of the same identity, before any is added.

        Full shards are shared between the two caches, not copied, where the file system can do that.

        Args:
            folder, earlier: where the other cache is, and its durable state.
            intervals: how many of its intervals, at least one.

        Raises:
            CacheError: if one of them is damaged, or cannot be written here.
        """
        from beacon_cli.cache.loading import read_shard  # noqa: PLC0415  imports torch
        from beacon_cli.cache.shards import interval_tensors  # noqa: PLC0415  imports torch

        per_shard = earlier.intervals_per_shard
        full = intervals // per_shard
        for name in list(earlier.files)[:full]:
            self._prepare_folder()
            try:
                share_durably(folder / name, self.folder / name)
            except OSError as error:
                raise unreadable(folder / name, error) from error
        begun = replace(self.manifest, intervals_per_shard=per_shard)
        if full:
            kept, shards = earlier.intervals[: full * per_shard], earlier.shards[:full]
            begun = replace(begun, sink_rows=earlier.sink_rows, intervals=kept, shards=shards)
        self._advance(begun, publish=bool(full) and not self._keep_old)
        rest = earlier.intervals[full * per_shard : intervals]
        if rest:
            cut = interval_tensors(earlier, full, read_shard(folder, earlier, full))
            for interval, (tensors, tokens) in zip(rest, cut, strict=False):
                sink = {name: tensor for name, tensor in tensors.items() if name.startswith("sink_")}
                self._sink |= sink
                rows = {name: tensor for name, tensor in tensors.items() if name not in sink}
                self._pending.append(_Pending(interval, tuple(tokens), rows))

    def add(self, tokens: Sequence[int], ratio: int, rows: "Activations", sink: "Activations | None" = None) -> None:
        """Take the next interval; it is durable once its shard is full. After an error, leave the context.

        Args:
            tokens: its token ids.
            ratio: the condensing ratio it was condensed at.
            rows: what its beacons kept, position-free and not rounded yet, whatever the identity's bits; copied.
            sink: the rows from before it, with the first interval only.

        Raises:
            CacheError: if a shard cannot be written; what was durable stays so.
            ValueError: for other shapes, impossible token ids, a late sink, or a cache that is complete.
        """
        from beacon_cli.cache.shards import checksum, encode, encode_sink  # noqa: PLC0415  imports torch

        last = self._last_interval()
        if self.manifest.complete or (sink is not None and last is not None):
            raise ValueError("a complete cache takes no interval, and only the first interval brings a sink")
        check_token_ids("tokens", tuple(tokens))
        stored = encode(rows, self.manifest.subject.identity.bits)
        if last is None:
            self._sink = encode_sink(sink)
            fitting = SHARD_BYTES // sum(tensor.nbytes for tensor in stored.values())
            per_shard = max(1, min(MAX_INTERVALS_PER_SHARD, fitting))
            self.manifest = replace(self.manifest, intervals_per_shard=per_shard)
        sha256 = checksum(stored if last else stored | self._sink)
        interval = Interval(
            start=last.end if last else 0,
            tokens=len(tokens),
            beacons=rows.size,
            ratio=ratio,
            shard=len(self.manifest.shards),
            offset=last.offset + last.beacons if last and self._pending else 0,
            sha256=sha256,
            chain=chain_link(last.chain if last else "", sha256, tokens),
        )
        self._pending.append(_Pending(interval, tuple(tokens), stored))
        if len(self._pending) == self.manifest.intervals_per_shard:
            self._advance(self._write_shard(), publish=not self._keep_old)

    def finish(self, tail: Sequence[int], pages: Sequence[PageText], warnings: Sequence[str] = ()) -> None:
        """Make the cache complete.

        Args:
            tail: token ids of the last, unfinished interval.
            pages: the text that was condensed.
            warnings: what its reader should know about it.

        Raises:
            CacheError: if a file cannot be written; what was durable stays so.
            ValueError: if a page reaches beyond the tokens.
        """
        last = self._last_interval()
        content = Pages(tuple(pages))
        content.check_span((last.end if last else 0) + len(tail))
        data = to_json(content)
        file = PagesFile(len(data), hashlib.sha256(data).hexdigest())
        self._write(file.file_name, data)
        chain = chain_link(last.chain if last else "", file.sha256, tail)
        end: dict[str, Any] = {
            "complete": True,
            "tail": tuple(tail),
            "pages": file,
            "warnings": tuple(warnings),
            "chain": chain,
        }
        manifest = self._write_shard(**end) if self._pending else replace(self.manifest, **end)
        self._advance(manifest, publish=True)
        if self._refresh:
            forget_origin(self.folder)

    def _recover(self) -> None:
        try:
            found = read_manifest(self.folder)
        except CacheError:
            if not self._refresh:
                raise
            found = None
        if self._refresh:
            self._keep_old = found is not None and found.complete
            if not self._keep_old:
                discard(self.folder)
        elif found is not None:
            trusted = trustworthy(self.folder, found)
            self._advance(trusted, publish=trusted is not found)
            if not trusted.complete and not self.memory().is_current:
                self._start_over()
        tidy(self.folder, self._use)

    def _start_over(self) -> None:
        discard(self.folder)
        self.manifest = Manifest.begin(self.manifest.subject)

    def _last_interval(self) -> Interval | None:
        if self._pending:
            return self._pending[-1].interval
        return self.manifest.intervals[-1] if self.manifest.intervals else None

    def _write_shard(self, **changes: Any) -> Manifest:
        """Write the pending intervals; return the manifest that names them, with `changes`."""
        from beacon_cli.cache.shards import pack  # noqa: PLC0415  imports torch

        before = self.manifest
        sink = {} if before.shards else self._sink
        tokens = [token for pending in self._pending for token in pending.tokens]
        data = pack([pending.rows for pending in self._pending], tokens, sink)
        rows = sum(pending.interval.beacons for pending in self._pending)
        sink_rows = sink["sink_keys"].shape[2] if sink else before.sink_rows
        shard = Shard(rows, len(data), hashlib.sha256(data).hexdigest())
        self._write(shard.file_name(len(before.shards)), data)
        return replace(
            before,
            intervals=(*before.intervals, *(pending.interval for pending in self._pending)),
            shards=(*before.shards, shard),
            sink_rows=sink_rows,
            **changes,
        )

    def _advance(self, manifest: Manifest, publish: bool) -> None:
        if publish:
            self._write(MANIFEST, seal(manifest))
        self.manifest = manifest
        self._pending.clear()

    def _write(self, name: str, data: bytes) -> None:
        self._prepare_folder()
        write_durably(self.folder / name, data)

    def _prepare_folder(self) -> None:
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise write_error(self.folder, error) from error

"""Condensing the intervals of a cache again: to put them back where they are damaged, or to compare."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from activation_beacon.memory import Activations
from activation_beacon.selected import Selected
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.growing import new_reader, restored
from beacon_cli.cache.loading import read_shard
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.repair import Repair
from beacon_cli.cache.shards import (
    Tensors,
    checksum,
    decode_interval,
    decode_intervals,
    decode_sink,
    encode,
    encode_sink,
    interval_tensors,
)
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.intervals import condense_intervals
from beacon_cli.condensing.text import TokenStream
from beacon_cli.errors import CacheError
from beacon_cli.events import Event, IntervalDone, Progress, Reading, silent

# How far rows that were condensed again may be from the stored ones (root mean square, relative): another device,
# thread count or library version rounds otherwise. Half of all 4-bit codes being off by one would be more.
TOLERANCE = 0.05


@dataclass
class Report:
    """What became of one cache.

    Attributes:
        key, name: its own and its document's.
        state: "whole", "unfinished", "gone" (removed meanwhile), "repaired", "rebuilt" (in part, to other bits),
            "damaged", or "unverified" where that could not be found out.
        damage: what is or was wrong.
        advice: what to do about it; None if there is nothing to be done.
        condensed: intervals that were condensed again.
        deviation: the largest difference of any of them from what is stored, relative; None without `deep`.
        foreign: whether it was imported, and anything of it still has to be believed.
        origin: where it comes from and what of it is proven, in words; None if it was built here.
    """

    key: str
    name: str
    state: str = "whole"
    damage: list[str] = field(default_factory=list)
    advice: str | None = None
    condensed: int = 0
    deviation: float | None = None
    foreign: bool = False
    origin: str | None = None


class Walk:
    """Goes through a cache shard by shard, always on top of what is stored, condensing again what it has to.

    Args:
        engine: the model that the cache was built with.
        repair: the right to mend it, and its damage.
        stream: all tokens and pages of its document.
        write: put back what is damaged.
        deep: condense again what is whole, too, and compare.
        report: is filled in on the way.
        progress: is told of every interval.
    """

    def __init__(
        self,
        engine: Engine,
        repair: Repair,
        stream: TokenStream,
        write: bool,
        deep: bool,
        report: Report,
        progress: Progress = silent,
    ) -> None:
        self._engine, self._repair, self._stream = engine, repair, stream
        self._write, self._deep, self._report, self._progress = write, deep, report, progress
        self._manifest = repair.manifest
        identity = self._manifest.subject.identity
        self._bits = identity.bits
        self._reader = new_reader(engine, identity.ratio, self._bits)

    def run(self) -> int | None:
        """The first shard that cannot be what it was; None if there is none.

        Raises:
            CacheError: if the tokens are not those of the cache, or something cannot be read or written.
        """
        self._check_stream()
        manifest, damaged = self._manifest, {damage.shard for damage in self._repair.damage}
        pages, tokens = len(self._stream.pages), len(self._stream.ids)
        self._progress(Reading(self._report.name, pages, pages, tokens))
        if None in damaged and self._write and not self._repair.put_pages(self._stream.pages):
            return 0
        last = max((shard for shard in damaged if shard is not None), default=-1)
        for index in range(len(manifest.shards) if self._deep else last + 1):
            if index in damaged or self._deep:
                if not self._condense(index, index in damaged):
                    return index
            else:
                self._restore(index)
            self._reader.let_go()
        return None

    def _restore(self, index: int) -> None:
        """Read a shard that is whole, as if it had just been condensed."""
        intervals = self._manifest.intervals_of(index)
        size = self._reader.memory.size
        sink = self._load(index, read_shard(self._repair.entry.folder, self._manifest, index))
        self._reader.restore(
            tokens=intervals[-1].end - intervals[0].start,
            sink=sink,
            beacons=self._reader.memory.size - size - sink,
            intervals=len(intervals),
            ratio=self._manifest.subject.identity.ratio,
        )

    def _check_stream(self) -> None:
        manifest, ids = self._manifest, self._stream.ids
        same = manifest.shared_intervals(ids) == len(manifest.intervals)
        if not same or tuple(ids[manifest.condensed_tokens :]) != manifest.tail:
            raise CacheError(
                "the tokens of its pages are not those of its chain: it was built by another version of the text "
                f"extraction or the tokenizer; remove it (`beacon cache rm {self._repair.entry.key}`)"
            )

    def _condense(self, index: int, damaged: bool) -> bool:
        """Condense a shard again; whether it is, or now is, what it was."""
        reader, ids = self._reader, self._stream.ids
        size = reader.memory.size
        intervals = self._manifest.intervals_of(index)
        rows: list[Activations] = []
        sink: Activations | None = None
        for interval in intervals:
            for step in reader.feed(ids[interval.start : interval.end], "none"):
                if step.interval is not None:
                    rows.append(step.interval)
                    sink = step.sink or sink
            self._report.condensed += 1
            self._progress(IntervalDone(reader.consumed, reader.memory.size))
        if damaged:
            tokens = ids[intervals[0].start : intervals[-1].end]
            return not self._write or self._repair.put_shard(index, rows, tokens, sink)
        tensors = read_shard(self._repair.entry.folder, self._manifest, index)
        deviation = self._deviation(index, rows, sink, tensors)
        self._report.deviation = max(self._report.deviation or 0.0, deviation)
        if deviation:
            reader.memory.truncate(size)
            self._load(index, tensors)
        if deviation > TOLERANCE:
            self._report.damage.append(
                f"{self._manifest.shards[index].file_name(index)} is not what the model makes of its tokens "
                f"(relative difference {deviation:.2g})"
            )
        return deviation <= TOLERANCE

    def _deviation(self, index: int, rows: Sequence[Activations], sink: Activations | None, tensors: Tensors) -> float:
        """The largest relative difference of an interval's rows from the stored ones; 0 if all bits are equal."""
        worst = 0.0
        stored = interval_tensors(self._manifest, index, tensors)
        for number, (interval, condensed) in enumerate(zip(self._manifest.intervals_of(index), rows, strict=True)):
            again = encode(condensed, self._bits)
            if checksum(again | encode_sink(None if number else sink)) != interval.sha256:
                # A difference of nothing but the bits (the sign of a zero) is one.
                each = (decode_interval(self._manifest, interval, own) for own in (again, stored[number][0]))
                worst = max(worst, _difference(*each), 1e-12)
        return worst

    def _load(self, index: int, tensors: Tensors) -> int:
        """Place shard `index` after the memory; how many rows of it are the sink."""
        sink = decode_sink(tensors)
        for rows in (sink, *decode_intervals(self._manifest, index, tensors)):
            if rows is not None:
                self._reader.load(rows.to(self._engine.device), self._engine.dtype)
        return 0 if sink is None else sink.size


def _difference(rows: Activations, stored: Activations) -> float:
    """Root mean square of the difference, relative to that of what is stored; the larger of keys and values.

    A row that only one of them selected differs by all that it is.
    """
    if isinstance(rows, Selected) and isinstance(stored, Selected):
        rows, stored = rows.spread(), stored.spread()
    pairs = ((rows.keys, stored.keys), (rows.values, stored.values))
    return max(float((a.float() - b.float()).norm() / b.float().norm().clamp(min=1e-30)) for a, b in pairs)


def rebuild(
    engine: Engine, entry: Entry, manifest: Manifest, stream: TokenStream, report: Report, progress: Progress = silent
) -> Manifest:
    """Go on with a cache that was cut, to its end; returns what is durable then.

    Raises:
        CacheError: if somebody else has built it meanwhile, or it cannot be written.
    """
    with entry.builder(manifest.subject) as builder:
        if builder.manifest.complete or not builder.check_token_prefix(stream.ids):
            raise CacheError(f"another process has built cache {entry.key} meanwhile; verify it again")
        identity = manifest.subject.identity
        reader = restored(engine, builder.memory(engine.device))

        def count(event: Event) -> None:
            report.condensed += 1
            progress(event)

        condense_intervals(reader, stream.ids, identity.ratio, builder, count)
        builder.finish(stream.ids[reader.consumed :], stream.pages, stream.warnings)
        return builder.manifest

"""What of a document is condensed already: by a build that was interrupted, or for a document that begins alike.

An interval's activations depend on nothing but the model and the token ids up to its end. So it does not matter which
document they were condensed for: an earlier version of the same file, a longer one, or other pages of it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from activation_beacon import SelectingReader, SequenceReader
from beacon_cli.cache.builder import Builder
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Subject
from beacon_cli.cache.loading import StoredMemory
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.origin import has_own_activations
from beacon_cli.cache.quantization import rounded
from beacon_cli.cache.store import Store
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.errors import CacheError
from beacon_cli.settings import DEFAULTS


def new_reader(engine: Engine, ratio: int, bits: int) -> SequenceReader:
    """An empty reader whose memory is what it will be when it has been on disk in so many bits a number."""
    reader = engine.reader(ratio)
    reader.memory.rounding = partial(rounded, bits=bits)
    return reader


def restored(
    engine: Engine, stored: StoredMemory, intervals: int | None = None, parts: Sequence[range] | None = None
) -> SequenceReader:
    """A reader that has read what is stored, or only its first intervals.

    Args:
        parts: of the tokens, of which the rows are needed, with what else is in the same files; None for those after
            which the next interval is read. (A beacon's rows are all needed.)

    Raises:
        CacheError: if it is damaged.
    """
    manifest, identity = stored.manifest, stored.manifest.subject.identity
    reader = new_reader(engine, identity.ratio, identity.bits)
    placed = manifest.intervals[:intervals]
    tokens, shards = (placed[-1].end, placed[-1].shard + 1) if placed else (0, 0)
    sink, beacons = manifest.sink_rows, sum(interval.beacons for interval in placed)
    needed: Sequence[int] = range(shards)
    if isinstance(reader, SelectingReader):
        needed = manifest.shards_with([reader.near(tokens)] if parts is None else parts, shards)
    found = stored.read(needed)
    for index in range(shards):
        if isinstance(reader, SelectingReader) and index not in needed:
            reader.skip(manifest.shards[index].rows, sum(map(manifest.span, manifest.intervals_of(index))))
            continue
        for rows in next(found):
            if missing := sink + beacons - reader.memory.size:
                reader.load(rows.part(0, missing), engine.dtype, sink + beacons)
    reader.restore(tokens=tokens, sink=sink, beacons=beacons, intervals=len(placed), ratio=identity.ratio)
    return reader


def find_earlier(store: Store, subject: Subject, ids: Sequence[int]) -> list[tuple[Entry, Manifest]]:
    """The other caches of the same model, at any ratio, whose first interval is that of `ids`.

    None whose activations would have to be believed, see `origin`: they would live on in what is built on them.
    """
    identity, found = subject.identity, []
    for summary in store.entries():
        manifest = summary.manifest
        if manifest is None or not manifest.intervals or summary.entry.key == subject.key:
            continue
        same_model = replace(manifest.subject.identity, ratio=identity.ratio) == identity
        if (
            same_model
            and has_own_activations(summary.origin, manifest)
            and manifest.shared_intervals(ids[: manifest.intervals[0].end])
        ):
            found.append((summary.entry, manifest))
    return found


def _is_version_of(manifest: Manifest, subject: Subject) -> bool:
    """Whether `subject` is what has become of the file that a cache was made of."""
    before, now = manifest.subject.document, subject.document
    return before.path == now.path != "-" and before.sha256 != now.sha256


class Beginning:
    """The beginning of a build, from what is condensed already.

    Args:
        builder: within its context; None to build without a cache.
        store: where other caches may have the document's beginning; None to use none.

    Attributes:
        taken: the cache whose beginning was taken over, its durable state, and how many of its intervals.
        notes: what the user should know of what could not be used.
    """

    def __init__(self, builder: Builder | None, store: Store | None) -> None:
        self._builder, self._store = builder, store
        self._looked = store is None or builder is None or bool(builder.manifest.intervals)
        self._earlier: list[tuple[Entry, Manifest]] = []
        self.taken: tuple[Entry, Manifest, int] | None = None
        self.notes: list[str] = []

    def needs_more(self, ids: Sequence[int]) -> bool:
        """Whether more of the document must be read before what is condensed can be compared with it."""
        if self._builder is None:
            return False
        subject = self._builder.manifest.subject
        if len(ids) < subject.identity.window:
            return True
        if self._store is not None and not self._looked:
            self._looked = True
            self._look(self._store, subject, ids)
        manifests = [self._builder.manifest, *(manifest for _, manifest in self._earlier)]
        return len(ids) < max(manifest.condensed_tokens for manifest in manifests)

    def reader(self, engine: Engine, ratio: int, ids: Sequence[int]) -> SequenceReader:
        """A reader that has read what is condensed of `ids`.

        Raises:
            CacheError: if the cache cannot be read or written.
        """
        builder = self._builder
        if builder is None:
            return new_reader(engine, ratio, DEFAULTS.cache_bits)
        if builder.manifest.intervals:
            if builder.check_token_prefix(ids):
                return restored(engine, builder.memory(engine.device))
            self.notes.append("what was condensed before does not match the document any more; starting over")
        for entry, _ in sorted(self._earlier, key=lambda each: each[1].shared_intervals(ids), reverse=True):
            with entry.in_use():
                try:
                    stored = entry.open(engine.device)
                    intervals = stored.manifest.shared_intervals(ids) if stored.is_current else 0
                    reader = restored(engine, stored, intervals)
                except CacheError:
                    continue  # damaged, or removed meanwhile: the next one will do
                if intervals and has_own_activations(entry.origin(), stored.manifest):
                    builder.take_over(entry.folder, stored.manifest, intervals)
                    self.taken = entry, stored.manifest, intervals
                    return reader
        return new_reader(engine, ratio, builder.manifest.subject.identity.bits)

    def discard_superseded(self) -> None:
        """Remove the cache of the document's earlier version if all its intervals were taken over.

        So a document that grows day by day takes no more disk than on its last day. Should the earlier version come
        back, its intervals are taken over from the cache of the longer one.
        """
        if self._builder is None or self._store is None or self.taken is None:
            return
        entry, manifest, intervals = self.taken
        if intervals == len(manifest.intervals) and _is_version_of(manifest, self._builder.manifest.subject):
            with suppress(CacheError):  # somebody reads it, or builds on it: it stays
                self._store.remove(entry)

    def _look(self, store: Store, subject: Subject, ids: Sequence[int]) -> None:
        found = find_earlier(store, subject, ids)
        self._earlier = [each for each in found if each[1].subject.identity.ratio == subject.identity.ratio]
        known = sorted({each.subject.identity.ratio for _, each in found if _is_version_of(each, subject)})
        if known and not self._earlier:
            self.notes.append(
                f"{subject.document.name} has changed, and was condensed at ratio {', '.join(map(str, known))} before: "
                f"at ratio {subject.identity.ratio} all of it is condensed anew"
            )

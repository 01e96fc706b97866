"""The manifest of one condensed document: what is durable in its folder. Nothing outside it counts."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from beacon_cli.cache.damage import DamageError, unreadable
from beacon_cli.cache.identity import Subject
from beacon_cli.durable.files import check_private
from beacon_cli.durable.records import check_sha256, check_token_ids, from_json, parse, unseal
from beacon_cli.errors import CacheError
from beacon_cli.version import __version__

FORMAT = 2
MANIFEST = "manifest.json"
MAX_INTERVALS_PER_SHARD = 64
_UNFINISHED: Any = {"complete": False, "tail": (), "pages": None, "warnings": (), "chain": None}


@dataclass(frozen=True)
class Interval:
    """One condensed interval.

    Attributes:
        start, tokens: its first token's position in the stream (prompt prefix included), and its length.
        beacons: rows that it added to the memory, in each layer and head (on average where each has its own number).
        ratio: the condensing ratio it was condensed at.
        shard, offset: where its rows are: index of the shard, first row in there (of each layer and head).
        sha256: checksum of its rows as they are stored (the sink's with the first), see `shards.checksum`.
        chain: checksum of all token ids and rows up to its end, see `chain_link`.
    """

    start: int
    tokens: int
    beacons: int
    ratio: int
    shard: int
    offset: int
    sha256: str
    chain: str

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.beacons < 1:
            raise ValueError("an interval is empty")
        check_sha256("sha256 of an interval", self.sha256)
        check_sha256("chain", self.chain)

    @property
    def end(self) -> int:
        """Position after its last token."""
        return self.start + self.tokens


@dataclass(frozen=True)
class Shard:
    """One file of activations.

    Attributes:
        rows: of memory that it holds in each layer and head, the sink not counted.
        size, sha256: of the file, in bytes.
    """

    rows: int
    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_sha256("sha256 of a shard", self.sha256)

    def file_name(self, index: int) -> str:
        """Names carry the content's checksum, so that no file of a finished cache is ever overwritten by another."""
        return f"memory-{index:05d}-{self.sha256[:16]}.safetensors"


@dataclass(frozen=True)
class PagesFile:
    """The file with the page texts: its size in bytes and its checksum."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_sha256("sha256 of the pages", self.sha256)

    @property
    def file_name(self) -> str:
        return f"pages-{self.sha256[:16]}.json"


@dataclass(frozen=True)
class Manifest:
    """Everything durable about one condensed document.

    Attributes:
        created: when the build began, ISO 8601 in UTC.
        complete: the whole document is in; until then `tail` is empty and `pages` is None.
        intervals_per_shard: every shard but the last of a complete cache holds exactly so many.
        sink_rows: rows kept in each layer and head from before the first interval; they are in the first shard.
        tail: token ids of the unfinished last interval.
        warnings: one-line remarks on pages that could not be read as they should.
        chain: the chain's end, over tail and pages: one checksum of all that the document became; None until complete.
    """

    format: int
    tool_version: str
    created: str
    subject: Subject
    complete: bool
    intervals_per_shard: int
    sink_rows: int
    intervals: tuple[Interval, ...]
    shards: tuple[Shard, ...]
    tail: tuple[int, ...]
    pages: PagesFile | None
    warnings: tuple[str, ...]
    chain: str | None

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.created).utcoffset() is None:
            raise ValueError("created has no time zone")
        if not 1 <= self.intervals_per_shard <= MAX_INTERVALS_PER_SHARD:
            raise ValueError(f"intervals_per_shard is {self.intervals_per_shard}")
        ended = {self.complete, self.pages is not None, self.chain is not None}
        if len(ended) > 1 or (self.tail and not self.complete):
            raise ValueError("complete, tail and pages contradict each other")
        if self.sink_rows and not self.intervals:
            raise ValueError("there is a sink without an interval")
        check_token_ids("tail", self.tail)
        self._check_intervals()
        if self.pages is not None and self.chain != chain_link(self.last_chain, self.pages.sha256, self.tail):
            raise ValueError("the chain does not end with the tail and the pages")

    def _check_intervals(self) -> None:
        count, size = len(self.intervals), self.intervals_per_shard
        if len(self.shards) != -(-count // size) or (count % size and not self.complete):
            raise ValueError(f"{count} intervals do not make {len(self.shards)} shards")
        start, rows = 0, [0] * len(self.shards)
        for index, interval in enumerate(self.intervals):
            shard = index // size
            if (interval.start, interval.shard, interval.offset) != (start, shard, rows[shard]):
                raise ValueError(f"interval {index} does not follow on the one before it")
            start += interval.tokens
            rows[shard] += interval.beacons
        if rows != [shard.rows for shard in self.shards]:
            raise ValueError("the rows of intervals and shards differ")

    @classmethod
    def begin(cls, subject: Subject) -> "Manifest":
        """The manifest of a cache in which nothing is durable yet."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(FORMAT, __version__, now, subject, False, MAX_INTERVALS_PER_SHARD, 0, (), (), (), None, (), None)

    def truncated(self, shards: int) -> "Manifest":
        """What remains when only the first `shards` shards are to be trusted: an incomplete cache of full shards."""
        shards = min(shards, len(self.intervals) // self.intervals_per_shard)
        if not shards:
            return Manifest.begin(self.subject)
        intervals = self.intervals[: shards * self.intervals_per_shard]
        return replace(self, intervals=intervals, shards=self.shards[:shards], **_UNFINISHED)

    @property
    def rows(self) -> int:
        """Rows of condensed memory in each layer and head, the sink not counted."""
        return sum(shard.rows for shard in self.shards)

    def span(self, interval: Interval) -> int:
        """Tokens of one of its intervals that are not the sink."""
        return interval.tokens - (0 if interval.start else self.sink_rows)

    def intervals_of(self, shard: int) -> tuple[Interval, ...]:
        """The intervals whose rows are in shard number `shard`."""
        return self.intervals[shard * self.intervals_per_shard : (shard + 1) * self.intervals_per_shard]

    def shards_with(self, parts: Sequence[range], shards: int) -> Sequence[int]:
        """Of the first `shards` shards, those with rows of some parts of its tokens, and the first, with the sink."""
        found = {
            interval.shard
            for interval in self.intervals
            if any(part.start < interval.end and interval.start < part.stop for part in parts)
        }
        return [index for index in range(shards) if index == 0 or index in found]

    def shared_intervals(self, tokens: Sequence[int]) -> int:
        """How many of its intervals, from the first one on, `tokens` begins with."""
        chain = ""
        for index, interval in enumerate(self.intervals):
            chain = chain_link(chain, interval.sha256, tokens[interval.start : interval.end])
            if chain != interval.chain:
                return index
        return len(self.intervals)

    @property
    def last_chain(self) -> str:
        """The chain up to the last finished interval."""
        return self.intervals[-1].chain if self.intervals else ""

    @property
    def condensed_tokens(self) -> int:
        """Tokens in the finished intervals."""
        return self.intervals[-1].end if self.intervals else 0

    @property
    def tokens(self) -> int:
        """Tokens of the stream that are accounted for: those condensed, and the tail."""
        return self.condensed_tokens + len(self.tail)

    @property
    def files(self) -> dict[str, Shard | PagesFile]:
        """All files that it names: the shards in their order, then the pages."""
        files: dict[str, Shard | PagesFile] = {s.file_name(i): s for i, s in enumerate(self.shards)}
        if self.pages is not None:
            files[self.pages.file_name] = self.pages
        return files


def chain_link(previous: str, sha256: str, tokens: Sequence[int]) -> str:
    """SHA-256 (hexadecimal) that binds `tokens` and what they became to all that was before.

    Args:
        previous: the link before; "" at the start.
        sha256: checksum of what they became: rows for an interval, page texts for the tail.
        tokens: ids; they go in as little-endian uint32.
    """
    known = bytes.fromhex(previous) + bytes.fromhex(sha256)
    return hashlib.sha256(known + struct.pack(f"<{len(tokens)}I", *tokens)).hexdigest()


class OtherFormatError(ValueError):
    """A manifest of another version of the format."""


def parse_manifest(data: bytes) -> Manifest:
    """The manifest that `seal` made `data` of.

    Raises:
        OtherFormatError: if it is of another format.
        ValueError: if it is malformed, or other by a single bit.
        RecursionError: if it is nested absurdly deep.
    """
    value = from_json(data)
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        raise ValueError("it has no format number")
    if value["format"] != FORMAT:
        writer = short_repr(value.get("tool_version"))
        raise OtherFormatError(
            f"has format {short_repr(value['format'])}, written by beacon {writer}; "
            f"this is beacon {__version__}, which reads format {FORMAT}"
        )
    return parse(Manifest, unseal(data, value))


def read_manifest(folder: Path) -> Manifest | None:
    """The durable state of the cache in `folder`; None if nothing is.

    Raises:
        CacheError: if others can change the folder, or the manifest cannot be read, is malformed, of another format, or
            belongs to another folder.
    """
    try:
        check_private(folder)
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(folder / MANIFEST, error) from error
    try:
        manifest = parse_manifest(data)
    except OtherFormatError as error:
        raise CacheError(
            f"the cache in {folder} {error}: "
            f"use that version, rebuild with --refresh, or remove it with `beacon cache rm {folder.name}`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DamageError(folder, f"{MANIFEST} is malformed: {error}") from error
    if manifest.subject.key != folder.name:
        raise DamageError(folder, f"{MANIFEST} is that of cache {manifest.subject.key}")
    return manifest

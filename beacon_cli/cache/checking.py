"""Whether a cache is whole: every byte against its checksum, every checksum against the chain."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beacon_cli.cache.manifest import Manifest, chain_link
from beacon_cli.cache.pages import read_pages
from beacon_cli.durable.files import DamageError
from beacon_cli.errors import CacheError


@dataclass(frozen=True)
class Damage:
    """Something in a cache that is not as it was written.

    Attributes:
        what: what is wrong with it.
        shard: which shard; None for the page texts.
    """

    what: str
    shard: int | None


def examine(folder: Path, manifest: Manifest) -> Iterator[Damage]:
    """Read everything that `manifest` names, and say what is damaged; without a builder or `Entry.in_use`, files may
    be replaced meanwhile."""
    from beacon_cli.cache.loading import read_shard  # noqa: PLC0415  imports torch
    from beacon_cli.cache.shards import checksum, interval_tensors  # noqa: PLC0415  imports torch

    for index in range(len(manifest.shards)):
        try:
            tensors = read_shard(folder, manifest, index)
        except CacheError as error:
            yield Damage(_what(error), index)
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
        except CacheError as error:
            yield Damage(_what(error), None)


def _what(error: CacheError) -> str:
    return error.what if isinstance(error, DamageError) else str(error)

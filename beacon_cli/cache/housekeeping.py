"""Keeping the cache within what its owner wants: what goes, and why."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.store import Store, Summary
from beacon_cli.errors import CacheError
from beacon_cli.events import Note, Progress, silent
from beacon_cli.quantities import format_age, format_size


@dataclass(frozen=True)
class Removal:
    """A cache that is to go, and why."""

    summary: Summary
    reason: str


def make_room(store: Store, keep: Entry, progress: Progress = silent) -> None:
    """Bring the store down to its limit, the least recently used caches first; a note names each that goes.

    Never `keep`, which has just been built, and nothing that is being built or read.
    """
    if store.limit is None:
        return
    uses = store.uses()
    total = sum(use.size for use in uses)
    for use in uses:
        if total <= store.limit:
            return
        if use.entry.key == keep.key:
            continue
        manifest = use.entry.complete_manifest()
        name = manifest.subject.document.name if manifest else f"cache {use.entry.key[:12]}"
        try:
            store.remove(use.entry)
        except CacheError:
            # In use, or not ours to delete: the next one will do.
            continue
        total -= use.size
        progress(
            Note(
                f"removed {name} ({format_size(use.size)}) from the cache, the one used longest ago: "
                f"cache_limit is {format_size(store.limit)}"
            )
        )
    if total > store.limit:
        progress(
            Note(
                f"the cache takes {format_size(total)} and cannot be brought down to cache_limit, "
                f"{format_size(store.limit)}, without what is in use"
            )
        )


def select(
    summaries: Sequence[Summary], *, older_than: float | None, max_size: int | None, unusable: Mapping[str, str]
) -> list[Removal]:
    """What `beacon cache prune` would remove.

    Args:
        summaries: all caches, the last used first.
        older_than: seconds since the last use; None for any age.
        max_size: bytes that may stay: the last used caches up to the first that is too much, which goes with all that
            were used before it; None for as many as there are.
        unusable: why caches cannot be used, by key.
    """
    removals: list[Removal] = []
    staying, full, now = 0, False, time.time()
    for summary in summaries:
        age = now - summary.last_used
        if summary.entry.key in unusable:
            removals.append(Removal(summary, unusable[summary.entry.key]))
        elif older_than is not None and age > older_than:
            removals.append(Removal(summary, f"last used {format_age(age)} ago"))
        elif max_size is not None and (full or staying + summary.size > max_size):
            full = True
            removals.append(Removal(summary, f"with those used after it, it is more than {format_size(max_size)}"))
        else:
            staying += summary.size
    return removals


def prune(
    store: Store, removals: Sequence[Removal], progress: Progress = silent, *, dry_run: bool = False
) -> list[Removal]:
    """Remove them; returns those that are gone. What is being built or read stays, with a note."""
    gone = []
    for removal in removals:
        try:
            if not dry_run:
                store.remove(removal.summary.entry)
            gone.append(removal)
        except CacheError as error:
            progress(Note(str(error)))
    if not dry_run:
        store.sweep()
    return gone

"""Condensing whole intervals, and keeping what they became."""

from collections.abc import Iterator, Sequence

from activation_beacon.memory import Activations
from activation_beacon.reader import Reader
from beacon_cli.cache.builder import Builder
from beacon_cli.events import IntervalDone, Progress, silent


def condense_interval(reader: Reader, ids: Sequence[int]) -> Iterator[tuple[Activations, Activations | None]]:
    """Read the tokens of one whole interval; yields, at its end, its rows and, if it is the first, the sink's.

    They are not rounded, as `Builder.add` wants them.
    """
    for step in reader.feed(ids):
        if step.condensed is None:
            continue
        sink, rows = len(step.plan.sink), step.condensed
        front = Activations(rows.keys[:, :, :sink], rows.values[:, :, :sink]) if sink else None
        yield Activations(rows.keys[:, :, sink:], rows.values[:, :, sink:]), front


def condense_intervals(
    reader: Reader, ids: Sequence[int], ratio: int, builder: Builder | None, progress: Progress = silent
) -> None:
    """Condense every interval that `ids`, all tokens of the document so far, hold in full.

    Args:
        builder: what keeps their rows; None keeps them in the reader's memory alone.

    Raises:
        CacheError: if they cannot be written.
    """
    window = reader.planner.config.window
    while len(ids) - reader.planner.consumed >= window:
        interval = ids[reader.planner.consumed : reader.planner.consumed + window]
        for rows, sink in condense_interval(reader, interval):
            if builder is not None:
                builder.add(interval, ratio, rows, sink)
        progress(IntervalDone(reader.planner.consumed, reader.memory.size))

"""Condensing whole intervals, and keeping what they became."""

from collections.abc import Sequence

from activation_beacon import SequenceReader
from beacon_cli.cache.builder import Builder
from beacon_cli.condensing.stem import Stem
from beacon_cli.events import IntervalDone, Progress, silent


def condense_intervals(
    reader: SequenceReader,
    ids: Sequence[int],
    ratio: int,
    builder: Builder | Stem | None,
    progress: Progress = silent,
) -> None:
    """Condense every interval that `ids`, all tokens of the document so far, hold in full.

    Args:
        builder: what keeps their rows, or the way back to them; None keeps them in the reader's memory alone. What is
            kept on disk, the reader may let go of.

    Raises:
        CacheError: if they cannot be written.
    """
    window = reader.window
    while len(ids) - reader.consumed >= window:
        interval = ids[reader.consumed : reader.consumed + window]
        for step in reader.feed(interval, "none"):
            if builder is not None and step.interval is not None:
                builder.add(interval, ratio, step.interval, step.sink)
        if isinstance(builder, Builder):
            reader.let_go()
        progress(IntervalDone(reader.consumed, reader.memory.size))

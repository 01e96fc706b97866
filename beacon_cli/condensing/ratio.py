"""The condensing ratio: which fits documents into a model's context, and what is said where none does."""

from collections.abc import Sequence

from beacon_cli.cache.pages import PageText
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.errors import TooLongError

# This share of the context is kept for the question and its answer, so that a longer question about the same document
# does not ask for another ratio, hence for another cache.
RESERVED_SHARE = 8
# A memory that was measured to keep less than this share of the answers is told of.
LITTLE = 0.5
# A memory that need not be read at once is made at no larger ratio than the last that keeps this share of the answers,
# or, where nothing was measured, than this one.
ENOUGH, USUAL = 0.75, 8


def reserve(source: ModelSource, needed: int) -> int:
    """Positions kept free after the document, of which a question and its answer need `needed`."""
    return max(source.context // RESERVED_SHARE, needed)


def room(source: ModelSource, needed: int) -> int:
    """Rows of memory that leave room for `needed` positions."""
    return source.context - reserve(source, needed)


def rows_needed(source: ModelSource, tokens: int, ratio: int) -> int:
    """Rows of memory of `tokens` tokens at `ratio`, the unfinished interval included (with all its beacons)."""
    intervals, rest = divmod(tokens, source.window)
    per_interval = source.window // ratio if ratio else source.window
    beacons = rest // ratio if ratio and source.info is not None else 0
    return source.sink_size + intervals * per_interval + rest + beacons


def rows_ended(source: ModelSource, tokens: int, ratio: int) -> int:
    """Rows of memory of `tokens` tokens at `ratio` when their last interval is ended where it is."""
    intervals, rest = divmod(tokens, source.window)
    per_interval = source.window // ratio if ratio else source.window
    condensed = source.info is None or source.info.config.pos == "interleave"
    beacons = rest // ratio if ratio and condensed else 0
    return intervals * per_interval + beacons + rest - beacons * ratio


def fits(source: ModelSource, tokens: int, ratio: int, needed: int, before: Sequence[int] = ()) -> bool:
    """Whether `tokens` tokens condensed at `ratio` leave room for `needed` positions.

    Args:
        before: how many tokens each of the documents has that stand in front.
    """
    rows = rows_needed(source, tokens, ratio) + sum(rows_ended(source, each, ratio) for each in before)
    return rows <= room(source, needed)


def smallest_ratio(source: ModelSource, tokens: int, needed: int, before: Sequence[int] = ()) -> int | None:
    """The smallest trained ratio at which `tokens` tokens fit; None if there is none."""
    return next((ratio for ratio in source.ratios if fits(source, tokens, ratio, needed, before)), None)


def ratio_to_recall(source: ModelSource, tokens: int, needed: int) -> int:
    """The ratio for a text of which a question recalls parts: the smallest that fits, while enough is kept."""
    enough = [ratio for ratio in source.ratios if source.kept.get(ratio, float(ratio <= USUAL)) >= ENOUGH]
    fitting = smallest_ratio(source, tokens, needed) or max(source.ratios)
    return min(fitting, max(enough, default=min(source.ratios)))


def keeps_little(source: ModelSource, ratio: int) -> str:
    """What is to be said of a ratio that was not asked for and at which little was measured to be kept, or nothing."""
    kept = source.kept.get(ratio, 1.0)
    if kept >= LITTLE:
        return ""
    return (
        f"only ratio {ratio} fits, and from a memory so small {source.name} was measured to answer {100 * kept:.0f} % "
        "of what it answers from the whole text: trust what is read again, or read a part of it (--pages)"
    )


def too_long(
    source: ModelSource, name: str, tokens: int, ratio: int | None, needed: int, pages: Sequence[PageText]
) -> TooLongError:
    """The error for a document that does not fit at `ratio` (None: at any), naming the limit and what would fit."""
    highest = ratio if ratio is not None else max(source.ratios)
    limit = most_tokens(source, highest, needed)
    if not limit:
        return TooLongError(
            f"a question, what is read again for it and its answer may take {needed:,} tokens and leave no room for "
            f"{name} in the context of {source.name} ({source.context:,}): ask in fewer words, lower --max-new-tokens "
            "or --passages, or choose a model with a longer context (--model)"
        )
    fitting = [page.number for page in pages if page.end_token <= limit]
    hint = (
        f"read a part of it (--pages {pages[0].number}-{fitting[-1]} fits)"
        if fitting
        else "read a part of it (--pages)"
    )
    if ratio is not None and smallest_ratio(source, tokens, needed) is not None:
        hint += ", use --ratio auto"
    return TooLongError(
        f"{name} has {'at least ' if ratio is not None else ''}{tokens:,} tokens, but at ratio {highest} "
        f"{source.name} holds at most {limit:,} with a question and its answer: {hint}, "
        "or choose a model with a longer context (--model)"
    )


def too_long_together(
    source: ModelSource, tokens: Sequence[int], number: int, ratio: int | None, needed: int
) -> TooLongError:
    """The error for documents that do not fit together at `ratio` (None: at any), naming totals and what would fit.

    Args:
        tokens: how many each of the first documents has.
        number: how many documents there are.
    """
    highest = ratio if ratio is not None else max(source.ratios)
    fitting = len(tokens)
    while fitting and not fits(source, tokens[fitting - 1], highest, needed, tokens[: fitting - 1]):
        fitting -= 1
    hint = f"ask fewer of them (the first {fitting} fit)" if fitting > 1 else "ask them one by one"
    if ratio is not None and smallest_ratio(source, tokens[-1], needed, tokens[:-1]) is not None:
        hint += ", use --ratio auto"
    which = f"the {number} documents" if number == len(tokens) else f"the first {len(tokens)} of {number} documents"
    return TooLongError(
        f"{which} have {sum(tokens):,} tokens together, but at ratio {highest} {source.name} holds at most about "
        f"{most_tokens(source, highest, needed):,} with a question and its answer: {hint}, read a part of each "
        "(--pages), or choose a model with a longer context (--model)"
    )


def most_tokens(source: ModelSource, ratio: int, needed: int) -> int:
    """The longest document that fits at `ratio` and leaves room for `needed` positions."""
    low, high = 0, source.context * max(ratio, 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(source, middle, ratio, needed) else (low, middle - 1)
    return low

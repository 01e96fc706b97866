"""Showing what `ask` and `summarize` bring: as text while it comes, or as one JSON object at the end."""

from collections.abc import Iterable
from typing import Any

from beacon_cli.console import Console
from beacon_cli.events import Answered, Event


def show_answer(console: Console, events: Iterable[Event], model: str) -> None:
    """Run a workflow that ends in an answer."""
    for result in console.run(events):
        if isinstance(result, Answered) and console.as_json:
            console.print_json(as_json(result, model))


def as_json(result: Answered, model: str) -> dict[str, Any]:
    """An answer for machines. `tokens_condensed` counts this run only; `seconds` are by stage."""
    condensed = result.condensed
    return {
        "answer": result.text,
        "pages": [{"page": c.page, "label": c.label, "quote": c.quote} for c in result.citations],
        "document": condensed.name,
        "tokens_read": condensed.tokens,
        "tokens_condensed": condensed.condensed_now,
        "tokens_condensed_to": condensed.rows,
        "ratio": condensed.ratio,
        "passages_reread": result.passages,
        "tokens_generated": result.generated,
        "finished": result.finished,
        "seconds": {stage: round(seconds, 4) for stage, seconds in result.seconds.items()},
        "model": model,
        "cache_path": condensed.cache_path,
    }

"""Showing what `ask` and `summarize` bring: as text while it comes, or as one JSON object at the end."""

from collections.abc import Iterable
from typing import Any

from beacon_cli.console.console import Console
from beacon_cli.events import Answered, Condensed, Event


def show_answer(console: Console, events: Iterable[Event], model: str) -> None:
    """Run a workflow that ends in an answer."""
    for result in console.run(events):
        if isinstance(result, Answered) and console.as_json:
            console.print_json(as_json(result, model))


def as_json(result: Answered, model: str) -> dict[str, Any]:
    """An answer for machines. `tokens_condensed` counts this run only; `seconds` are by stage."""
    read = result.documents
    return {
        "answer": result.text,
        "pages": [
            {"document": c.document, "page": c.page, "label": c.label, "section": c.section, "quote": c.quote}
            for c in result.citations
        ],
        "document": ", ".join(document.name for document in read),
        "documents": [document_as_json(document) for document in read],
        "warnings": [warning for document in read for warning in document.warnings],
        "tokens_read": sum(document.tokens for document in read),
        "tokens_condensed": sum(document.condensed_now for document in read),
        "tokens_condensed_to": result.rows,
        "ratio": read[0].ratio,
        "passages_reread": result.passages,
        "tokens_generated": result.generated,
        "finished": result.finished,
        "seconds": {stage: round(seconds, 4) for stage, seconds in result.seconds.items()},
        "model": model,
        "cache_path": read[0].cache_path if len(read) == 1 else None,
    }


def document_as_json(document: Condensed) -> dict[str, Any]:
    """A condensed document for machines."""
    return {
        "document": document.name,
        "pages": document.pages,
        "warnings": list(document.warnings),
        "tokens_read": document.tokens,
        "tokens_condensed": document.condensed_now,
        "cache_path": document.cache_path,
    }

"""What `ask` and `summarize` share: reading the documents, and showing the answer as text or as one JSON object."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from beacon_cli.cache import default_root, key_at
from beacon_cli.commands.options import HowToRead
from beacon_cli.console.console import Console
from beacon_cli.events import Condensed
from beacon_cli.settings import Settings

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.library import Memory, Model


def answer_from(
    documents: list[str], question: str | None, settings: Settings, how: HowToRead, console: Console
) -> None:
    """Read `documents`, ask `question` (None: for a summary) and show the answer."""
    # Imported here because they import torch, which `--help` can do without.
    from beacon_cli.answering.prompts import TEMPLATE, check_template  # noqa: PLC0415  as above
    from beacon_cli.documents.finding import find_documents  # noqa: PLC0415  as above

    find_documents(documents, cached)  # what is missing is said before a model is fetched
    with console:
        template = check_template(TEMPLATE if settings.template is None else settings.template)
        model = load_model(settings, console)
        length, passages = settings.max_new_tokens, settings.passages if question else 0
        memory = model.read(
            documents,
            ratio=settings.ratio or "auto",
            **asdict(how),
            room=model.room_for(question or "", max_new_tokens=length, passages=passages, template=template),
            progress=console.draw,
        )
        if question is None and model.source.note:
            console.note(model.source.note)
        if question is None:
            answer = memory.summarize(max_new_tokens=length, temperature=settings.temperature)
        else:
            answer = memory.ask(
                question,
                max_new_tokens=length,
                temperature=settings.temperature,
                passages=passages,
                template=template,
            )
        if console.as_json:
            console.print_json(as_json(model, memory, answer))
        else:
            console.print_answer(answer, several=len(memory.documents) > 1)
        if not answer.text:
            advice = "use" if question is None else "ask in other words, or use"
            console.note(f"{model.name} gave no answer; {advice} a larger model (--model)")


def cached(argument: str) -> str | None:
    """The key that an argument means which is no file."""
    return key_at(default_root(), argument)


def load_model(settings: Settings, console: Console) -> "Model":
    """The model that the settings name."""
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.library import load  # noqa: PLC0415  as above

    return load(
        settings.model,
        settings.beacon,
        beacon_bits=settings.beacon_bits,
        condense=settings.condense,
        device=settings.device,
        system=settings.system,
        cache_bits=settings.cache_bits,
        cache_limit=settings.cache_limit,
        progress=console.draw,
    )


def as_json(model: "Model", memory: "Memory", answer: "Answer") -> dict[str, Any]:
    """An answer for machines. `tokens_condensed` counts this run only; `seconds` are by stage."""
    read = memory.documents
    seconds = {"find_model": model.seconds} | memory.seconds | answer.seconds
    return {
        "question": answer.question,
        "answer": answer.text,
        "supported": answer.supported,
        "citations": [
            {"document": c.document, "page": c.page, "label": c.label, "section": c.section, "quote": c.quote}
            for c in answer.citations
        ],
        "documents": [document_as_json(document) for document in read],
        "warnings": [warning for document in read for warning in document.warnings],
        "tokens_read": memory.tokens,
        "tokens_condensed": sum(document.condensed_now for document in read),
        "tokens_condensed_to": memory.rows,
        "ratio": memory.ratio,
        "passages_reread": len(answer.passages),
        "tokens_generated": answer.generated,
        "finished": answer.finished,
        "seconds": {stage: round(spent, 4) for stage, spent in seconds.items()},
        "model": model.name,
        "condense": model.source.condense,
        "cache_path": read[0].cache_path if len(read) == 1 else None,
    }


def document_as_json(document: Condensed) -> dict[str, Any]:
    """A condensed document for machines."""
    return {
        "document": document.name,
        "page_count": document.pages,
        "warnings": list(document.warnings),
        "tokens_read": document.tokens,
        "tokens_condensed": document.condensed_now,
        "cache_path": document.cache_path,
        "foreign": document.foreign,
        "without_document": document.without_document,
    }

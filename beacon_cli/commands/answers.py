"""What `ask`, `summarize` and `chat` share: the model, and an answer as text or as one JSON object."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from beacon_cli.cache.store import default_root, key_at
from beacon_cli.commands.options import HowToRead
from beacon_cli.console.console import Console
from beacon_cli.documents.finding import find_documents
from beacon_cli.errors import CacheError
from beacon_cli.events import Condensed
from beacon_cli.logs import record
from beacon_cli.quantities import counted
from beacon_cli.settings import Settings

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.library import Memory, Model


def finish(console: Console, model: "Model", memory: "Memory", answer: "Answer", *, log: bool) -> None:
    """Say it if there is no answer or not all of it, and keep what was asked if that is wanted."""
    say_what_lacks(console, model, answer)
    if log:
        try:
            record(answer, [document.name for document in memory.texts.documents], model.name)
        except CacheError as error:  # the answer is there all the same
            console.note(f"note: {error}")


def read(
    model: "Model",
    documents: list[str],
    question: str,
    settings: Settings,
    how: HowToRead,
    console: Console,
    *,
    when_needed: bool = False,
) -> "Memory":
    """What the model makes of the documents, with room for a question like this."""
    asked = answering(settings)
    del asked["temperature"], asked["recall"]  # they take no room
    room = model.room_for(question, **asked)
    reading = how.reading | {"room": room, "whole": not settings.recall, "when_needed": when_needed}
    return model.read(documents, ratio=settings.ratio or "auto", **reading, progress=console.draw)


def answering(settings: Settings) -> dict[str, Any]:
    """What the settings say to `Memory.ask`.

    Raises:
        SettingsError: for a template without a question.
    """
    from beacon_cli.answering.prompts import check_template  # noqa: PLC0415  imports torch; `--help` can do without

    asked = {name: getattr(settings, name) for name in ("max_new_tokens", "temperature", "passages", "recall")}
    return asked | {"template": None if settings.template is None else check_template(settings.template)}


def show(console: Console, memory: "Memory", answer: "Answer", *, show_passages: bool = False) -> None:
    """The answer as it comes, where it stands, and the passages that it was given."""
    console.print_answer(answer, memory.texts.documents)
    if show_passages:
        console.print_line("")
        console.print_passages(answer.passages[::-1] or answer.found, memory.texts, answer.question or "")


def say_what_lacks(console: Console, model: "Model", answer: "Answer") -> None:
    """Say it if there is no answer, or not all of it."""
    if not answer.answered:
        console.note(no_answer(model, answer))
    elif answer.finished == "length":
        console.note(
            f"the answer was cut off after {counted(answer.generated, 'token')}: --max-new-tokens allows no more, or "
            "the model's context is full"
        )


def no_answer(model: "Model", answer: "Answer") -> str:
    """One line that says why there is none, and what to do."""
    advice = "use" if answer.question is None else "ask in other words, or use"
    advice = f"{advice} a larger model (--model)"
    if answer.finished == "loop":
        return f"{model.name} only repeated itself and was stopped: it gave no answer; {advice}"
    if answer.finished == "babble":
        return f"{model.name} did not believe in its own words and was stopped: it gave no answer; {advice}"
    if answer.text:
        return f"{model.name} gave no answer: it finds none in the text"
    return f"{model.name} gave no answer; {advice}"


def cached(argument: str) -> str | None:
    """The key that an argument means which is no file."""
    return key_at(default_root(), argument)


def load_model(settings: Settings, console: Console, documents: Sequence[str] = ()) -> "Model":
    """The model that the settings name; before it is fetched, it is said which of the documents are missing."""
    find_documents(documents, cached)
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.library import load  # noqa: PLC0415  as above

    return load(**model_arguments(settings), progress=console.draw)


def model_arguments(settings: Settings) -> dict[str, Any]:
    """What the settings say of the model, as `load` takes it."""
    names = ("model", "beacon", "beacon_bits", "condense", "device", "threads", "system", "cache_bits", "cache_limit")
    return {name: getattr(settings, name) for name in names}


def as_object(model: "Model", memory: "Memory", answer: "Answer") -> dict[str, Any]:
    """An answer for machines. `tokens_condensed` counts this run only; `seconds` are by stage."""
    read = memory.documents
    seconds = {"find_model": model.seconds} | memory.seconds | answer.seconds
    return {
        "question": answer.question,
        "answer": answer.text,
        "answered": answer.answered,
        "supported": answer.supported,
        "citations": [asdict(citation) for citation in answer.citations],
        "passages": [asdict(passage) for passage in answer.found],
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

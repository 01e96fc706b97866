"""What `ask`, `summarize` and `chat` share: the model, and an answer as text or as one JSON object."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beacon_cli.cache import default_root, key_at
from beacon_cli.commands.options import HowToRead
from beacon_cli.console.console import Console
from beacon_cli.console.report import report
from beacon_cli.errors import CacheError, OutputError
from beacon_cli.events import Condensed
from beacon_cli.logs import record
from beacon_cli.settings import Settings

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.library import Memory, Model


def answer_from(
    documents: list[str],
    question: str,
    settings: Settings,
    how: HowToRead,
    console: Console,
    *,
    show_passages: bool = False,
    report_to: Path | None = None,
) -> None:
    """Read `documents`, ask `question` and show the answer."""
    # Imported here because they import torch, which `--help` can do without.
    from beacon_cli.documents.finding import find_documents  # noqa: PLC0415  as above

    find_documents(documents, cached)  # what is missing is said before a model is fetched
    with console:
        asked = answering(settings)
        model = load_model(settings, console)
        # Whether a memory is needed shows as it answers; for machines, there are figures of everything.
        alone = model.source.passages_first and settings.passages != 0 and not console.as_json
        memory = read(model, documents, question, settings, how, console, when_needed=alone)
        answer = memory.ask(question, **asked)
        if console.as_json:
            console.print_json(as_json(model, memory, answer))
        else:
            show(console, memory, answer, show_passages=show_passages)
        if report_to is not None:
            _write_report(report_to, model, memory, answer)
            console.note(f"written: {report_to}")
        finish(console, model, memory, answer, log=settings.log)
        if how.reading["cache"]:
            if memory.pending:
                console.note("condensing for later questions …")
            memory.complete()


def finish(console: Console, model: "Model", memory: "Memory", answer: "Answer", *, log: bool) -> None:
    """Say it if there is no answer, and keep what was asked if that is wanted."""
    if not answer.answered:
        console.note(no_answer(model, answer))
    if log:
        try:
            record(answer, [document.name for document in memory.texts.documents], model.name)
        except CacheError as error:  # the answer is there all the same
            console.note(f"note: {error}")


def _write_report(path: Path, model: "Model", memory: "Memory", answer: "Answer") -> None:
    try:
        path.write_text(report(answer, memory.texts, model.name), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); name another file with --report") from error


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
    return model.read(
        documents,
        ratio=settings.ratio or "auto",
        **how.reading,
        room=model.room_for(question, **asked),
        when_needed=when_needed,
        progress=console.draw,
    )


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


def load_model(settings: Settings, console: Console) -> "Model":
    """The model that the settings name."""
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.library import load  # noqa: PLC0415  as above

    return load(**model_arguments(settings), progress=console.draw)


def model_arguments(settings: Settings) -> dict[str, Any]:
    """What the settings say of the model, as `load` takes it."""
    names = ("model", "beacon", "beacon_bits", "condense", "device", "threads", "system", "cache_bits", "cache_limit")
    return {name: getattr(settings, name) for name in names}


def as_json(model: "Model", memory: "Memory", answer: "Answer") -> dict[str, Any]:
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

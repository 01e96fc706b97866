"""`beacon ask`."""

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from beacon_cli.commands import options
from beacon_cli.commands.answers import answering, as_object, cached, finish, load_model, read, show
from beacon_cli.console.console import Console
from beacon_cli.console.report import as_html
from beacon_cli.documents.opening import SUFFIXES, opening_ahead
from beacon_cli.errors import OutputError, SettingsError
from beacon_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.library import Memory, Model

_HOW = 'write it after the documents: beacon ask book.pdf "who is the narrator?"'


@options.flags(Settings, *options.ANSWERING, "log")
def ask(
    documents: options.Documents = [],  # noqa: B006  typer hands in a list of its own
    *,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know.")],
    flags: options.Flags,
    how: options.HowToRead,
    show_passages: Annotated[
        bool, typer.Option("--show-passages", help="Show the passages that were read again, after the answer.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Write question, answer and passages there as one HTML file, too."
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer a question about one or several documents.

    Each document is condensed once and kept; the next question about it, alone or with others, is answered at once.
    """
    if not documents:
        raise typer.BadParameter(
            f'the question is missing; write it after the documents: beacon ask {question} "who is the narrator?"'
        )
    settings = load_settings(flags)
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--report {report} is no name of an HTML file; name one that ends in .html")
    if not question.strip():
        raise SettingsError(f"the question is empty; {_HOW}")
    is_document = os.sep in question or PurePath(question).suffix.lower() in SUFFIXES
    if is_document and os.path.exists(question):
        raise SettingsError(f"the question is missing, for the last argument, {question}, is a document; {_HOW}")
    _check_quotes(documents, question)
    console = Console(quiet=quiet, as_json=as_json, kept=how.kept)
    _answer(documents, question, settings, how, console, show_passages=show_passages, report=report)


def _answer(
    documents: list[str],
    question: str,
    settings: Settings,
    how: options.HowToRead,
    console: Console,
    *,
    show_passages: bool,
    report: Path | None,
) -> None:
    with console, opening_ahead(documents):
        asked = answering(settings)
        model = load_model(settings, console, documents)
        # Whether a memory is needed shows as it answers; for machines, there are figures of everything.
        alone = model.source.passages_first and settings.passages != 0 and not console.as_json
        memory = read(model, documents, question, settings, how, console, when_needed=alone)
        answer = memory.ask(question, **asked)
        if console.as_json:
            console.print_json(as_object(model, memory, answer))
        else:
            show(console, memory, answer, show_passages=show_passages)
        if report is not None:
            _write_report(report, model, memory, answer)
            console.note(f"written: {report}")
        finish(console, model, memory, answer, log=settings.log)
        if how.reading["cache"]:
            if memory.pending:
                console.note("condensing for later questions …")
            memory.complete()


def _write_report(path: Path, model: "Model", memory: "Memory", answer: "Answer") -> None:
    try:
        path.write_text(as_html(answer, memory.texts, model.name), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); name another file with --report") from error


def _check_quotes(documents: list[str], question: str) -> None:
    """Refuse words of a question among the documents: `beacon ask book.pdf who is it`."""
    words = [name for name in documents if name != "-" and not os.path.lexists(name) and cached(name) is None]
    there = documents[: len(documents) - len(words)]
    if words and there and there + words == documents and not any(os.sep in w or PurePath(w).suffix for w in words):
        asked = " ".join([*words, question])
        raise SettingsError(f'put the question in quotes: beacon ask {" ".join(there)} "{asked}"')

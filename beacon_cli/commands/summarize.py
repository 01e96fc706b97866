"""`beacon summarize`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beacon_cli.commands import options
from beacon_cli.commands.answers import as_object, load_model, no_answer, say_what_lacks
from beacon_cli.console.console import Console
from beacon_cli.documents.opening import opening_ahead
from beacon_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.answering.extract import Section
    from beacon_cli.answering.texts import Texts

_SETTINGS = (
    *(name for name in options.ANSWERING if name not in ("passages", "recall", "template")),
    "summary_by",
    "summary_length",
)
_LENGTH = 150


@options.flags(Settings, *_SETTINGS)
def summarize(
    documents: options.Documents,
    *,
    sections: Annotated[bool, typer.Option("--sections", help="Summarize each section, by its own sentences.")] = False,
    flags: options.Flags,
    how: options.HowToRead,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Summarize one or several documents: by the model, or where that is too weak, by the text's own sentences."""
    settings = load_settings(flags)
    with Console(quiet=quiet, as_json=as_json, kept=how.kept) as console, opening_ahead(documents):
        if sections or settings.summary_by == "sentences":
            _by_sentences(_opened(documents, how, console), settings, console, sections, "as asked for")
        else:
            _by_model(documents, settings, how, console)


def _opened(documents: list[str], how: options.HowToRead, console: Console) -> "Texts":
    # Imported here because it takes time that `--help` can do without.
    from beacon_cli.answering.texts import open_texts  # noqa: PLC0415  as above

    return open_texts(documents, pages=how.pages, password=how.password, cache=not how.no_cache, progress=console.draw)


def _by_model(documents: list[str], settings: Settings, how: options.HowToRead, console: Console) -> None:
    """The model's summary; if the model is known to be too weak, or turns out to be, one of the text's sentences."""
    model = load_model(settings, console, documents)
    if model.source.note and settings.summary_by == "auto":
        _by_sentences(_opened(documents, how, console), settings, console, False, model.source.note)
        return
    length = max(settings.max_new_tokens, 2 * (settings.summary_length or 0))
    room = model.room_for(max_new_tokens=length, passages=0)
    reading = how.reading | {"room": room, "whole": True}
    memory = model.read(documents, ratio=settings.ratio or "auto", **reading, progress=console.draw)
    answer = memory.summarize(length=settings.summary_length, max_new_tokens=length, temperature=settings.temperature)
    # It is not shown as it comes: it may turn out to be none.
    if not answer.answered and settings.summary_by == "auto":
        _by_sentences(memory.texts, settings, console, False, no_answer(model, answer))
        return
    if console.as_json:
        console.print_json(as_object(model, memory, answer) | {"method": "model"})
    else:
        console.print_answer(answer, memory.documents)
    say_what_lacks(console, model, answer)


def _by_sentences(texts: "Texts", settings: Settings, console: Console, by_section: bool, why: str) -> None:
    made = texts.summarize(settings.summary_length or _LENGTH, by_section=by_section)
    if console.as_json:
        console.print_json(_as_json(texts, made, why))
        return
    for number, section in enumerate(made):
        heading = [section.document] * (len(texts.documents) > 1) + [section.title or ""]
        title = ": ".join(part for part in heading if part)
        if number:
            console.print_line("")
        if title:
            console.print_line(title)
        for each in section.extracts:
            console.print_sentence(f"{each.text} (p. {each.label or each.page})")
    console.note(f"these are sentences of the text, chosen by TextRank: {why}")


def _as_json(texts: "Texts", made: "Sequence[Section]", why: str) -> dict[str, Any]:
    summary = " ".join(each.text for section in made for each in section.extracts)
    return {
        "answer": summary,
        "answered": bool(summary),
        "method": "sentences",
        "why": why,
        "sections": [
            {
                "document": section.document,
                "title": section.title,
                "sentences": [asdict(each) for each in section.extracts],
            }
            for section in made
        ],
        "documents": [text.name for text in texts.documents],
        "warnings": list(texts.warnings),
    }

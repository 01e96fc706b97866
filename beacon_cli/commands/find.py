"""`beacon find`."""

from dataclasses import asdict
from typing import Annotated

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.errors import SettingsError


def find(
    documents: options.Documents = [],  # noqa: B006  typer hands in a list of its own
    *,
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What to look for: words, or a question.")],
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, help="How many places.")] = 5,
    pages: options.Pages = None,
    password: options.Password = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the places in documents that words or a question are about, the best first; no model is loaded."""
    if not documents:
        raise typer.BadParameter(
            f'the words are missing; write them after the documents: beacon find {words} "a storm"'
        )
    if not words.strip():
        raise SettingsError('the words are empty; write some after the documents: beacon find book.pdf "a storm"')
    # Imported here because `--help` can do without it.
    from beacon_cli.answering.texts import open_texts  # noqa: PLC0415  as above

    with Console(quiet=quiet, as_json=as_json) as console:
        texts = open_texts(documents, pages=pages, password=password, progress=console.draw)
        for warning in texts.warnings:
            console.note(f"note: {warning}")
        found = texts.find(words, count)
        if as_json:
            places = [asdict(passage) | {"marked": texts.marked(passage.text, words)} for passage in found]
            console.print_json({"words": words, "places": places, "warnings": list(texts.warnings)})
            return
        console.print_passages(found, texts, words)
        if not found:
            console.note("none of these words stands in the text; try others")

"""`beacon logs`."""

from dataclasses import asdict
from typing import Annotated

import typer

from beacon_cli import logs as log
from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.quantities import counted


def logs(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="Only those with these words in them.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, help="How many.")] = 10,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all of them.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show past questions and answers, the latest first (`beacon config set log false` keeps none)."""
    console = Console(as_json=as_json)
    if clear:
        console.note(f"forgot {counted(log.clear(), 'question')}")
        return
    found = log.latest(count, " ".join(words or ()))
    if as_json:
        console.print_json([asdict(each) for each in found])
        return
    for each in found:
        verdict = {True: "supported", False: "unsupported", "partly": "supported partly", None: "no answer"}
        places = [f"{c['document']}, p. {c['label'] or c['page']}" for c in each.citations]
        console.print_record(
            {
                "asked": each.asked,
                "documents": each.documents,
                "question": each.question,
                "answer": each.answer,
                "support": verdict[each.supported if each.answered else None],
                "places": places,
            }
        )
    if not found:
        console.note("no question is logged" + (" with these words" if words else ""))

"""`beacon eval`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.console.tables import Column
from beacon_cli.evaluation.plan import Plan, load_plan
from beacon_cli.settings import Settings, declared, load_settings

if TYPE_CHECKING:
    from beacon_cli.evaluation.evaluating import Evaluated

_FLAGS = [name for name, each in declared(Plan).items() if each.option]


@options.flags(Plan, *_FLAGS, into="wanted")
@options.flags(Settings, *options.LOADING, "passages", "recall")
def evaluate(
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help=declared(Plan)["task"].help)],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="needle: the haystack; perplexity: the texts (both: The Time Machine if none is given); "
            "qa: JSON lines with question, answers, and document (a text) or path (of a file).",
        ),
    ] = None,
    flags: options.Flags,
    wanted: options.Flags,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write results.json, table.md and pictures there; interrupted, the same command goes on.",
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure what a model with its beacon can do with long texts, against the same model without."""
    command = shlex.join(["beacon", *sys.argv[1:]])
    plan = load_plan(task, wanted, command=command, files=tuple(files or ()), out=out)
    chosen = load_settings(flags)
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.evaluation.evaluating import evaluate  # noqa: PLC0415  imports torch

    kept = f"what is measured is kept in {out}, and the same command goes on from there" if out else ""
    with Console(quiet=quiet, as_json=as_json, kept=kept) as console:
        result = evaluate(plan, chosen, console.draw)
    _show(console, result)


def _show(console: Console, result: "Evaluated") -> None:
    if console.as_json:
        console.print_json(result.results)
        return
    console.print_table([Column(title, keep=not index) for index, title in enumerate(result.columns)], result.rows)
    if result.rows:
        console.note(result.results["caption"])
    for path in result.paths:
        console.note(f"written: {path}")

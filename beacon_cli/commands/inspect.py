"""`beacon inspect`."""

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.console.tables import Column
from beacon_cli.quantities import counted

if TYPE_CHECKING:
    from beacon_cli.documents import Document
    from beacon_cli.documents.survey import Inspected

STATES = ("read", "warned", "refused")
COLUMNS = [
    Column("state", keep=True),
    Column("pages", drop=2),
    Column("words", drop=1),
    Column("seconds", drop=3),
    Column("document", keep=True),
    Column("remarks"),
]


def inspect(
    places: Annotated[list[str], typer.Argument(metavar="PATH", help="Documents, folders or patterns.")],
    text: Annotated[bool, typer.Option("--text", help="Print the text of one document, page by page.")] = False,
    pages: options.Pages = None,
    password: options.Password = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what of documents can be read, without a model: a line each, with warnings and refusals."""
    # Imported here because `--help` can do without it.
    from beacon_cli.documents import PageSelection, open_document  # noqa: PLC0415  takes time that `--help` can do without
    from beacon_cli.documents.survey import paths_of, survey  # noqa: PLC0415  takes time that `--help` can do without

    selection = None if pages is None else PageSelection.parse(pages)
    with Console(quiet=quiet, as_json=as_json) as console:
        if text:
            if len(places) != 1:
                raise typer.BadParameter("--text shows one document", param_hint="PATH")
            with open_document(places[0], password=password, pages=selection) as document:
                _show_text(console, document)
            return
        began = time.perf_counter()
        found = survey(paths_of(places), password=password, pages=selection, progress=console.draw)
        totals = _totals(found, time.perf_counter() - began)
    if as_json:
        console.print_json({"documents": [asdict(each) for each in found], "totals": totals})
    elif console.columns is None:
        console.print_table(COLUMNS, [_row(each) for each in found])
        console.note(_summary(totals))
    else:  # remarks say what to do, and are not to be shortened
        console.print_table(COLUMNS[:-1], [_row(each)[:-1] for each in found])
        for each in found:
            if each.remarks:
                console.print_sentence(f"{each.path}: {'; '.join(each.remarks)}")
        console.note(_summary(totals))


def _show_text(console: Console, document: "Document") -> None:
    if console.as_json:
        listed = [asdict(page) for page in document.pages()]
        console.print_json({"source": asdict(document.source), "pages": listed, "warnings": document.warnings})
        return
    for page in document.pages():
        label = f" ({page.label})" if page.label else ""
        section = f" · {page.section}" if page.section else ""
        console.print_line(f"--- page {page.number}{label}{section}\n{page.text}\n")
    for warning in document.warnings:
        console.note(f"note: {warning}")


def _row(each: "Inspected") -> list[str]:
    figures = (str(each.pages), str(each.words), f"{each.seconds:.2f}")
    return [each.state, *figures, each.path, "; ".join(each.remarks)]


def _totals(found: list["Inspected"], seconds: float) -> dict[str, Any]:
    return {
        **{state: sum(each.state == state for each in found) for state in STATES},
        "pages": sum(each.pages for each in found),
        "seconds": round(seconds, 1),
        "peak_memory_mb": _peak_memory(),
    }


def _peak_memory() -> int | None:
    """Megabytes that the largest of all reading processes took; None where the system does not tell."""
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return None
    kilobytes = 1024 if sys.platform == "darwin" else 1  # which macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // kilobytes // 1024


def _summary(totals: dict[str, Any]) -> str:
    states = ", ".join(f"{totals[state]:,} {state}" for state in STATES)
    memory = totals["peak_memory_mb"]
    with_memory = "" if memory is None else f", with at most {memory:,} MB of memory"
    return f"{states}; {counted(totals['pages'], 'page')} in {totals['seconds']:,} seconds{with_memory}"

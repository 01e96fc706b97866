"""`beacon inspect`."""

import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.console.text import one_line
from beacon_cli.quantities import counted

if TYPE_CHECKING:
    from beacon_cli.documents import Document
    from beacon_cli.documents.survey import Inspected

STATES = ("read", "warned", "refused")
_FIELDS = ("state", "pages", "words", "seconds", "document", "remarks")
_HEAD = f"{'state':7}  {'pages':>5}  {'words':>9}  document"
_INDENT = " " * 9


def inspect(
    places: Annotated[list[str], typer.Argument(metavar="PATH...", help="Documents, folders or patterns.")],
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

    console = Console(quiet=quiet, as_json=as_json)
    selection = None if pages is None else PageSelection.parse(pages)
    if text:
        if len(places) != 1:
            raise typer.BadParameter("--text shows one document", param_hint="PATH")
        with open_document(places[0], password=password, pages=selection) as document:
            _show_text(console, document)
        return
    began = time.perf_counter()
    findings = []
    paths = paths_of(places)
    if not as_json:
        console.print_line(_HEAD if console.columns else "\t".join(_FIELDS))
    for finding in survey(paths, password=password, pages=selection):
        findings.append(finding)
        if not as_json:
            console.print_line(_row(finding, console.columns))
    totals = _totals(findings, time.perf_counter() - began)
    if as_json:
        console.print_json({"documents": [asdict(finding) for finding in findings], "totals": totals})
    else:
        states = ", ".join(f"{totals[state]:,} {state}" for state in STATES)
        console.note(
            f"{states}; {counted(totals['pages'], 'page')} in {totals['seconds']:,} seconds, "
            f"with at most {totals['peak_memory_mb']:,} MB of memory"
        )


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


def _row(finding: "Inspected", columns: int | None) -> str:
    """A document's line, tabs between its fields; on a terminal of so many columns, aligned, with the remarks below."""
    path, remarks = one_line(finding.path), one_line("; ".join(finding.remarks))
    if columns is None:
        figures = (str(finding.pages), str(finding.words), f"{finding.seconds:.2f}")
        return "\t".join((finding.state, *figures, path, remarks))
    below = textwrap.wrap(remarks, columns, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)
    return "\n".join((f"{finding.state:7}  {finding.pages:5,}  {finding.words:9,}  {path}", *below))


def _totals(findings: list["Inspected"], seconds: float) -> dict[str, Any]:
    return {
        **{state: sum(finding.state == state for finding in findings) for state in STATES},
        "pages": sum(finding.pages for finding in findings),
        "seconds": round(seconds, 1),
        "peak_memory_mb": _peak_memory() // 2**20,
    }


def _peak_memory() -> int:
    """Bytes that the largest of all reading processes took; 0 where the system does not say."""
    try:
        import resource  # noqa: PLC0415  Windows has no such module, and `--help` there comes this way
    except ModuleNotFoundError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kilobytes, macOS bytes

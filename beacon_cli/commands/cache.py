"""`beacon cache …`: build, list, show, remove; where it is. The rest is in `cache_upkeep`."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from beacon_cli.cache import Store, Summary, default_root
from beacon_cli.commands import cache_upkeep, options
from beacon_cli.commands.answers import document_as_json, load_model
from beacon_cli.commands.cache_upkeep import EMPTY, Which, find, name
from beacon_cli.console.console import Console
from beacon_cli.events import Condensed
from beacon_cli.quantities import format_size
from beacon_cli.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Condensed documents on this disk.")

SORTS: dict[str, Callable[[Summary], Any]] = {
    "used": lambda summary: -summary.last_used,
    "size": lambda summary: -summary.size,
    "name": lambda summary: name(summary).casefold(),
    "pages": lambda summary: -summary.manifest.subject.document.page_count if summary.manifest else 0,
    "model": lambda summary: summary.manifest.subject.models.base if summary.manifest else "",
}


@app.command("build")
@options.flags(Settings, *options.CONDENSING)
def build(
    documents: Annotated[list[str], typer.Argument(metavar="DOC...", help="Documents, folders, patterns, or -.")],
    *,
    flags: options.Flags,
    pages: options.Pages = None,
    password: options.Password = None,
    refresh: options.Refresh = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Condense documents, so that questions about them are answered at once.

    Interrupted at any moment, the same command goes on where it was.
    """
    settings, console = load_settings(flags), Console(quiet=quiet, as_json=as_json)
    # Imported here because it takes time that `--help` can do without.
    from beacon_cli.documents.gathering import find_documents  # noqa: PLC0415  as above

    find_documents(documents)  # what is missing is said before a model is fetched
    with console:
        model = load_model(settings, console)
        results = model.condense(
            documents, ratio=settings.ratio or "auto", pages=pages, password=password, refresh=refresh,
            room=model.room_for(max_new_tokens=settings.max_new_tokens, passages=settings.passages),
            progress=console.draw,
        )  # fmt: skip
    if as_json:
        console.print_json([_built(result) for result in results])


@app.command("list")
def list_caches(
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="|".join(SORTS), help="The largest, latest or first in the alphabet on top."),
    ] = "used",
    as_json: options.Json = False,
) -> None:
    """List what is condensed."""
    if sort not in SORTS:
        raise typer.BadParameter(f"--sort takes {', '.join(SORTS)}")
    console, summaries = Console(), sorted(Store.default().entries(), key=SORTS[sort])
    if as_json:
        console.print_json([_entry(summary) for summary in summaries])
        return
    if not summaries:
        console.note(EMPTY)
        return
    columns = ["key", "document", "pages", "tokens", "ratio", "bits", "model", "size", "last used", "state"]
    console.print_table(columns, [_row(summary) for summary in summaries])


@app.command("show")
def show(which: Which, as_json: options.Json = False) -> None:
    """Show one condensed document."""
    console = Console()
    for summary in find(Store.default(), which):
        entry = _entry(summary)
        console.print_record(entry if as_json else entry | {"size": format_size(summary.size)}, as_json=as_json)


@app.command("rm")
def remove(
    which: Annotated[list[str] | None, typer.Argument(metavar="KEY|DOC...", help="See `cache list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove every condensed document.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove condensed documents from the cache; the documents themselves are never touched."""
    if everything == bool(which):
        raise typer.BadParameter("name what to remove, or give --all")
    console, store = Console(quiet=quiet), Store.default()
    chosen = store.entries() if everything else [summary for each in which or [] for summary in find(store, each)]
    if not chosen:
        console.note(EMPTY)
    for key, summary in {summary.entry.key: summary for summary in chosen}.items():
        store.remove(summary.entry)
        console.note(f"removed {key} ({name(summary)})")


@app.command("path")
def path() -> None:
    """Print the cache's folder."""
    Console().print_line(str(default_root()))


app.command("verify")(cache_upkeep.verify)
app.command("prune")(cache_upkeep.prune)
app.command("export")(cache_upkeep.export)
app.command("import")(cache_upkeep.import_)


def _built(result: Condensed) -> dict[str, Any]:
    return document_as_json(result) | {
        "tokens_condensed_to": result.rows,
        "ratio": result.ratio,
        "seconds": {stage: round(seconds, 4) for stage, seconds in result.seconds.items()},
    }


def _entry(summary: Summary) -> dict[str, Any]:
    used = datetime.fromtimestamp(summary.last_used).astimezone().isoformat(timespec="seconds")
    known: dict[str, Any] = {
        "key": summary.entry.key,
        "path": str(summary.entry.folder),
        "size": summary.size,
        "last_used": used,
    }
    manifest = summary.manifest
    if manifest is None:
        return known | {"state": "unusable", "problem": summary.problem}
    subject = manifest.subject
    return known | {
        "state": "complete" if manifest.complete else "unfinished",
        "document": subject.document.name,
        "document_path": subject.document.path,
        "title": subject.document.title,
        "pages": subject.document.page_count,
        "selection": subject.document.selection,
        "tokens": manifest.tokens if manifest.complete else manifest.condensed_tokens,
        "rows": sum(shard.rows for shard in manifest.shards) + manifest.sink_rows + len(manifest.tail),
        "ratio": subject.identity.ratio,
        "bits": subject.identity.bits,
        "window": subject.identity.window,
        "model": subject.models.base,
        "beacon": subject.models.beacon,
        "computed": f"{subject.compute.device}, {subject.compute.dtype}",
        "warnings": list(manifest.warnings),
        "created": manifest.created,
        "tool_version": manifest.tool_version,
    }


def _row(summary: Summary) -> list[str]:
    entry = _entry(summary)
    return [
        entry["key"][:12],
        str(entry.get("document", "?")),
        str(entry.get("selection", "?")),
        f"{entry['tokens']:,}" if "tokens" in entry else "?",
        str(entry.get("ratio", "?")),
        str(entry.get("bits", "?")),
        str(entry.get("model", "?")),
        format_size(entry["size"]),
        entry["last_used"][:16].replace("T", " "),
        entry["state"],
    ]

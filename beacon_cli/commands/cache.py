"""`beacon cache …`: build, list, show, remove; where it is. The rest is in `cache_upkeep`."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import datetime
from io import StringIO
from pathlib import PurePath
from typing import Annotated, Any

import typer

from beacon_cli.cache.store import Store, Summary, default_root
from beacon_cli.commands import cache_upkeep, options
from beacon_cli.commands.answers import document_as_json, load_model, model_arguments
from beacon_cli.commands.cache_upkeep import EMPTY, Which, chosen, find, name
from beacon_cli.console.console import Console
from beacon_cli.console.tables import Column
from beacon_cli.documents.finding import Place, find_documents
from beacon_cli.documents.remote import is_remote
from beacon_cli.errors import DocumentError
from beacon_cli.events import Condensed, Note
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
# What a list on a narrow terminal goes without is in `show`.
COLUMNS = (
    Column("key", keep=True),
    Column("document", least=16),
    Column("pages", drop=7),
    Column("tokens", drop=8),
    Column("ratio", drop=1),
    Column("bits", drop=9),
    Column("model", drop=5, least=14),
    Column("condensed by", drop=4, least=18),
    Column("size", drop=2),
    Column("last used", drop=6),
    Column("state", drop=3, least=10),
)


@app.command("build")
@options.flags(Settings, *options.CONDENSING)
def build(
    documents: Annotated[list[str], typer.Argument(metavar="DOC", help="Documents, folders, patterns, or -.")],
    *,
    flags: options.Flags,
    pages: options.Pages = None,
    password: options.Password = None,
    refresh: options.Refresh = False,
    ocr: options.Ocr = False,
    shard: Annotated[
        str,
        typer.Option("--shard", metavar="I/N", help="Take the I-th of every N documents; other machines the others."),
    ] = "1/1",
    on: Annotated[
        str | None, typer.Option("--on", metavar="ray", help="Spread the documents over a Ray cluster.")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Condense documents, so that questions about them are answered at once.

    Interrupted at any moment, the same command goes on where it was. Several machines share the work where they share
    the cache's folder (BEACON_CACHE_DIR).
    """
    own = _shard(shard)
    if on not in (None, "ray"):
        raise typer.BadParameter("--on takes ray")
    settings = load_settings(flags)
    console = Console(quiet=quiet, as_json=as_json, kept="" if refresh else options.KEPT)
    places = find_documents(documents)  # what is missing is said before a model is fetched
    how: dict[str, Any] = {
        "ratio": settings.ratio or "auto",
        "pages": pages,
        "password": password,
        "refresh": refresh,
        "ocr": ocr,
    }
    room: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens, "passages": settings.passages}
    with console:
        if on is None:
            model = load_model(settings, console)
            results = model.condense(documents, **how, room=model.room_for(**room), shard=own, progress=console.draw)
        else:
            results = _spread(places[own[0] - 1 :: own[1]], model_arguments(settings), how, room, console)
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
    console.print_table(COLUMNS, _table(summaries))


@app.command("show")
def show(which: Which, as_json: options.Json = False) -> None:
    """Show a condensed document; with --json, a list of them if there are several (at other ratios, of other pages)."""
    console, found = Console(), find(Store.default(), which)
    if as_json:
        entries = [_entry(summary) for summary in found]
        console.print_json(entries[0] if len(entries) == 1 else entries)
        return
    for summary in found:
        known = {name: value for name, value in _entry(summary).items() if value not in (None, [])}
        console.print_record(known | {"size": format_size(summary.size)})


@app.command("rm")
def remove(
    which: Annotated[list[str] | None, typer.Argument(metavar="KEY|DOC", help="See `cache list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove every condensed document.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove condensed documents from the cache; the documents themselves are never touched."""
    if everything == bool(which):
        raise typer.BadParameter("name what to remove, or give --all")
    console, store = Console(quiet=quiet), Store.default()
    for summary in chosen(store, which, console):
        store.remove(summary.entry)
        console.note(f"removed {summary.entry.key} ({name(summary)})")


@app.command("path")
def path() -> None:
    """Print the cache's folder."""
    Console().print_line(str(default_root()))


app.command("verify")(cache_upkeep.verify)
app.command("prune")(cache_upkeep.prune)
app.command("export")(cache_upkeep.export)
app.command("import")(cache_upkeep.import_)


def _shard(text: str) -> tuple[int, int]:
    """What `--shard` says: which one, of how many."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    number, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= total:
        raise typer.BadParameter(f"--shard takes I/N, like 2/8 for the second of eight shares, not {text}")
    return number, total


def _spread(
    places: Sequence[Place], model: dict[str, Any], how: dict[str, Any], room: dict[str, Any], console: Console
) -> list[Condensed]:
    """Build on a Ray cluster. What cannot be condensed is told of as it turns up, and counted at the end.

    Raises:
        DocumentError: if that is any that was named, or all.
    """
    from beacon_cli.spreading import condense_on_ray  # noqa: PLC0415  imports torch

    places = [each if is_remote(each.path) else replace(each, path=os.path.abspath(each.path)) for each in places]
    done: list[Condensed] = []
    failed: list[Place] = []
    with redirect_stdout(StringIO()):  # Ray writes there that it gives a document to another worker
        for place, result in condense_on_ray(places, model | {"cache_dir": str(default_root())}, how, room):
            if isinstance(result, Condensed):
                done.append(result)
                console.draw(result)
            else:
                failed.append(place)
                console.draw(Note(f"left out: {result}"))
    if any(place.folder is None for place in failed) or (failed and not done):
        raise DocumentError(f"{len(failed)} of {len(places)} documents could not be condensed; they are named above")
    return done


def _built(result: Condensed) -> dict[str, Any]:
    return document_as_json(result) | {
        "tokens_condensed_to": result.rows,
        "ratio": result.ratio,
        "seconds": {stage: round(seconds, 4) for stage, seconds in result.seconds.items()},
    }


def _entry(summary: Summary) -> dict[str, Any]:
    """A cache for machines; of one that cannot be read, only where it is and why."""
    manifest = summary.manifest
    used = datetime.fromtimestamp(summary.last_used).astimezone().isoformat(timespec="seconds")
    known: dict[str, Any] = {
        "key": summary.entry.key,
        "path": str(summary.entry.folder),
        "size": summary.size,
        "last_used": used,
        "foreign": summary.foreign,
        "state": "unusable" if summary.problem else "complete" if manifest and manifest.complete else "unfinished",
        "problem": summary.problem,
    }
    if manifest is None:
        return known
    document, identity = manifest.subject.document, manifest.subject.identity
    models, compute = manifest.subject.models, manifest.subject.compute
    origin = summary.origin
    return known | {
        "signed_by": origin.signer if origin is not None and origin.is_signed(manifest) else None,
        "proven": None if origin is None else origin.proven(manifest),
        "document": document.name,
        "document_path": document.path,
        "document_kind": document.kind,
        "document_size": document.size,
        "document_sha256": document.sha256,
        "title": document.title,
        "page_count": document.page_count,
        "selection": document.selection,
        "tokens": manifest.tokens if manifest.complete else manifest.condensed_tokens,
        "rows": manifest.rows + manifest.sink_rows + len(manifest.tail),
        "intervals": len(manifest.intervals),
        "ratio": identity.ratio,
        "bits": identity.bits,
        "window": identity.window,
        "model": models.base,
        "model_fingerprint": identity.base,
        "condense": identity.condense,
        "beacon": models.beacon,
        "beacon_fingerprint": identity.beacon,
        "computed": f"{compute.device}, {compute.dtype}",
        "warnings": list(manifest.warnings),
        "created": manifest.created,
        "tool_version": manifest.tool_version,
    }


def _table(summaries: Sequence[Summary]) -> list[list[str]]:
    """A row for each cache; beacons and scorers of one name are told apart by their fingerprints."""
    known = [each.manifest.subject for each in summaries if each.manifest]
    condensers = {(_condenser(each.identity.condense, each.models.beacon), each.identity.beacon) for each in known}
    ambiguous = {name for name, count in Counter(name for name, _ in condensers).items() if count > 1}
    return [_row(_entry(summary), ambiguous) for summary in summaries]


def _row(entry: dict[str, Any], ambiguous: Collection[str]) -> list[str]:
    condenser = _condenser(entry["condense"], entry["beacon"]) if "beacon" in entry else "?"
    if condenser in ambiguous:
        condenser += f" {entry['beacon_fingerprint'][:8]}"
    return [
        entry["key"][:12],
        str(entry.get("document", "?")),
        str(entry.get("selection", "?")),
        f"{entry['tokens']:,}" if "tokens" in entry else "?",
        str(entry.get("ratio", "?")),
        str(entry.get("bits", "?")),
        str(entry.get("model", "?")),
        condenser,
        format_size(entry["size"]),
        entry["last_used"][:16].replace("T", " "),
        entry["state"] + (", foreign" if entry["foreign"] else ", signed" if entry.get("signed_by") else ""),
    ]


def _condenser(condense: str, path: str) -> str:
    """What a person calls what condensed: what it is and, of a beacon or a scorer, the folder's name or the hub's."""
    if condense == "select":
        return condense
    parts = PurePath(path).parts
    for part in parts:
        if part.startswith("models--"):  # a folder of the hub's cache
            return f"{condense} {part.removeprefix('models--').replace('--', '/')}"
    return f"{condense} {'/'.join(parts[-2:]) if parts[-1:] == ('beacon',) else ''.join(parts[-1:])}"

"""`beacon cache verify`, `prune`, `export` and `import`."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beacon_cli.cache import housekeeping
from beacon_cli.cache.store import Store, Summary
from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.errors import CacheError
from beacon_cli.quantities import counted, format_size, parse_age, parse_size
from beacon_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.cache.entry import Entry
    from beacon_cli.cache.matching import Matcher
    from beacon_cli.condensing.recondensing import Report

Which = Annotated[
    str, typer.Argument(metavar="KEY|DOC", help="A key (or its beginning) or a document, see `cache list`.")
]
Several = Annotated[list[str] | None, typer.Argument(metavar="KEY|DOC", help="See `cache list`; all if none.")]
UNMATCHED = "no model on this disk can use it"
EMPTY = "nothing is condensed yet; `beacon cache build` or a first question does it"
# What `verify` says of each state of a report.
STATES = {
    "whole": "whole",
    "unfinished": "unfinished, and whole as far as it goes",
    "gone": "removed meanwhile",
    "repaired": "repaired",
    "rebuilt": "condensed anew from the damage on",
    "damaged": "damaged",
    "unverified": "could not be checked",
}
Sign = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY", help="Sign it with this SSH key (ssh-keygen does); FILE.sig is written too."),
]
Trust = Annotated[
    Path | None,
    typer.Option("--trust", metavar="KEY", help="Take it only if FILE.sig is by this public SSH key, and believe it."),
]
Force = Annotated[bool, typer.Option("--force", help="Even in place of what is there.")]


@options.flags(Settings, "model", "beacon", "device", "threads")
def verify(
    which: Several = None,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Condense again, and compare with what is stored.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Condense what is damaged again and put it back.")] = False,
    flags: options.Flags,
    password: options.Password = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read condensed documents through and find every damaged bit; exit code 1 if any damage remains."""
    console, store = Console(quiet=quiet, as_json=as_json), Store.default()
    settings = load_settings(flags)
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.condensing.verification import Verifier  # noqa: PLC0415  as above

    verifier = Verifier(
        _matcher(store, flags), settings.device, settings.threads, deep=deep, repair=repair, password=password
    )
    reports: list[Report] = []
    for summary in chosen(store, which, console):
        with console:
            report = verifier.verify(summary, console.draw)
        reports.append(report)
        if not as_json:
            console.print_sentence(_line(report))
    if as_json:
        console.print_json([asdict(report) for report in reports])
    bad = [report for report in reports if report.state in ("damaged", "unverified")]
    if bad:
        of = f"{len(bad)} of {counted(len(reports), 'condensed document')}"
        raise CacheError(f"{of} cannot be relied on; {bad[0].name}: {bad[0].advice}")


def prune(
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="30d", help="Not used for so long (m, h, d, w or y).")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="2GB", help="Keep so much, the last used; remove the rest.")
    ] = None,
    unusable: Annotated[
        bool, typer.Option("--unusable", help="What cannot be read, or is for a model that is not on this disk.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove condensed documents that are old, too many or unusable; never one that is being built or read."""
    if older_than is None and max_size is None and not unusable:
        raise typer.BadParameter("say what to remove: --older-than, --max-size or --unusable")
    age = None if older_than is None else parse_age(older_than)
    limit = None if max_size is None else parse_size(max_size)
    console, store = Console(quiet=quiet, as_json=as_json), Store.default()
    summaries = store.entries()
    reasons = _unusable(store, summaries) if unusable else {}
    removals = housekeeping.select(summaries, older_than=age, max_size=limit, unusable=reasons)
    with console:
        gone = housekeeping.prune(store, removals, console.draw, dry_run=dry_run)
    if as_json:
        console.print_json(
            [
                {"key": r.summary.entry.key, "document": name(r.summary), "size": r.summary.size, "reason": r.reason}
                for r in gone
            ]
        )
        return
    for removal in gone:
        console.print_sentence(
            f"{removal.summary.entry.key[:12]} {name(removal.summary)} ({format_size(removal.summary.size)}): "
            f"{removal.reason}"
        )
    total = format_size(sum(removal.summary.size for removal in gone))
    of = f"{len(gone)} of {counted(len(summaries), 'condensed document')}"
    console.note(f"{'would remove' if dry_run else 'removed'} {of} ({total})")


def export(
    which: Which,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; NAME.beacon if not given.")
    ] = None,
    force: Force = False,
    key: Sign = None,
    quiet: options.Quiet = False,
) -> None:
    """Write one condensed document, its text included, to a file that another machine with the same model can use."""
    from beacon_cli.cache.archive import SUFFIX  # noqa: PLC0415  imports tarfile
    from beacon_cli.cache.archive import export as write  # noqa: PLC0415  imports torch

    console = Console(quiet=quiet)
    found = [each for each in find(Store.default(), which) if each.manifest is not None]
    if not found:
        raise CacheError(f"what the cache has of {which} cannot be read; `beacon cache verify {which}` says why")
    if len(found) > 1:
        raise CacheError(
            f"{which} is condensed {len(found)} times; say which by its key: {', '.join(map(_told, found))}"
        )
    stem = re.sub(r"[^\w.-]+", "_", Path(name(found[0])).stem).strip("._") or found[0].entry.key
    target = output or Path(f"{stem}{SUFFIX}")
    if target.is_dir():
        raise CacheError(f"{target} is a folder; give the name of a file with -o")
    if target.exists() and not force:
        raise CacheError(f"{target} exists; give another name with -o, or replace it with --force")
    size = write(found[0].entry, target, key)
    console.print_line(str(target))
    console.note(
        f"{format_size(size)}, the text of the document included; on any machine with the same model, "
        "`beacon cache import` takes it in"
    )


@options.flags(Settings, "model", "beacon")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `beacon cache export` wrote.")],
    *,
    flags: options.Flags,
    force: Force = False,
    trust: Trust = None,
    quiet: options.Quiet = False,
) -> None:
    """Put an exported document into the cache, so that questions about it are answered at once.

    It counts as foreign, until it is proven here or signed by a key that you trust: see `cache list`.
    """
    console, store = Console(quiet=quiet), Store.default()
    # Imported here because they import torch, which `--help` can do without.
    from beacon_cli.cache.archive import import_archive  # noqa: PLC0415  as above

    entry, usable = import_archive(store, file, _matcher(store, flags), force=force, trusted=trust)
    console.print_line(entry.key)
    _tell_origin(console, entry)
    if not usable:
        console.note(f"{UNMATCHED} yet; until then `beacon cache prune --unusable` would remove it")


def _tell_origin(console: Console, entry: "Entry") -> None:
    manifest, origin = entry.manifest(), entry.origin()
    if manifest is None or origin is None:
        return
    if origin.is_foreign(manifest):
        console.note(
            "foreign: its text is compared with the document's own before it is used for that; without the document, "
            f"`beacon ask {entry.key[:12]} …` takes it as it is; --trust believes a signature"
        )
    else:
        console.note(origin.told(manifest))


def find(store: Store, which: str) -> list[Summary]:
    """The caches that a user means.

    Raises:
        CacheError: if there are none.
    """
    found = store.find(which)
    if not found:
        raise CacheError(f"the cache holds nothing called {which}; `beacon cache list` shows what it holds")
    return found


def chosen(store: Store, which: Sequence[str] | None, console: Console) -> list[Summary]:
    """The caches that a user means, each once; all of them if none is named. If none is there, that is said."""
    found = [summary for each in which for summary in find(store, each)] if which else store.entries()
    if not found:
        console.note(EMPTY)
    return list({summary.entry.key: summary for summary in found}.values())


def name(summary: Summary) -> str:
    """What a person calls it."""
    return summary.manifest.subject.document.name if summary.manifest else "unusable"


def _told(summary: Summary) -> str:
    """A key, and what sets its cache apart from others of the same document."""
    key = summary.entry.key[:12]
    if summary.manifest is None:
        return key
    identity, document = summary.manifest.subject.identity, summary.manifest.subject.document
    return f"{key} (ratio {identity.ratio}, {identity.bits} bits, pages {document.selection})"


def _unusable(store: Store, summaries: list[Summary]) -> dict[str, str]:
    """Why caches cannot be used, by key."""
    matcher = _matcher(store, {})
    broken = {each.entry.key: "it cannot be read" for each in summaries if each.problem is not None}
    strange = {
        each.entry.key: UNMATCHED for each in summaries if each.manifest and not matcher.find(each.manifest.subject)
    }
    return broken | strange


def _matcher(store: Store, flags: options.Flags) -> "Matcher":
    """What finds the models of caches: those that the flags name, or else the configured and the default one too."""
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.cache.matching import Matcher  # noqa: PLC0415  as above

    settings = load_settings({})
    given = (flags["model"], flags.get("beacon")) if "model" in flags else None
    return Matcher(store.path, given, (settings.model, settings.beacon))


def _line(report: "Report") -> str:
    parts = [f"{report.key[:12]} {report.name}: {STATES[report.state]}"]
    if report.condensed:
        parts.append(f"{counted(report.condensed, 'interval')} condensed again")
    if report.deviation == 0:
        parts.append("equal to the bit")
    elif report.deviation is not None and report.state != "damaged":
        parts.append(f"equal but for rounding, {report.deviation:.1g} of a number's size")
    if report.origin is not None:
        parts.append(report.origin)
    was = "was damaged: " if report.state in ("repaired", "rebuilt") else ""
    return "; ".join([*parts, *(f"{was}{what}" for what in report.damage)])

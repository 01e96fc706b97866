"""What `beacon cache` says of the caches on a disk, however wide the terminal is; no model takes part."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.housekeeping import select
from beacon_cli.cache.identity import Models, Subject
from beacon_cli.cache.store import Store, Summary
from tests.cache.synthetic_cache import PAGES, SUBJECT, TAIL, fill
from tests.cli.runner import assert_refused, run
from tests.console.terminal import beacon, run_in_terminal

LONG = "The Strange Voyages of an Unusually Long-Winded Person, Told by Herself in Three Volumes.pdf"


def build(
    cache_dir: Path, name: str, ratio: int = 4, beacon: str = "/models/pocket/beacon", made_of: str = "b", **scheme: Any
) -> Entry:
    """A small complete cache of a document of that name; `made_of`: the digit that the beacon's fingerprint is of."""
    scheme = SUBJECT.identity.scheme | scheme
    identity = replace(SUBJECT.identity, ratio=ratio, beacon=made_of * 64, scheme=scheme)
    document = replace(SUBJECT.document, name=name, path=f"/books/{name}")
    subject = Subject(identity, document, Models("owner/some-model", beacon), SUBJECT.compute)
    entry = Store(cache_dir).entry_of_key(subject.key)
    with entry.builder(subject) as builder:
        fill(builder)
        builder.finish(TAIL, PAGES)
    return entry


@pytest.mark.parametrize("columns", [40, 60, 80, 250])
def test_a_list_fits_the_terminal_and_cuts_no_key(cache_dir: Path, columns: int) -> None:
    entries = [build(cache_dir, "book.txt"), build(cache_dir, LONG, 8), build(cache_dir, LONG, 16)]
    code, written = run_in_terminal(beacon("cache", "list"), columns)
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()]
    assert code == 0
    assert max(map(len, lines)) <= columns
    assert {line.split()[0] for line in lines[1:]} == {entry.key[:12] for entry in entries}
    assert len(lines) == 1 + len(entries)
    assert sum(LONG[:10] in line for line in lines) == 2
    heads = lines[0].split()
    assert ("ratio" in heads) == (columns >= 40)
    assert ("condensed" in heads) == (columns >= 80)
    assert ("bits" in heads) == (columns >= 250)


def test_a_list_says_what_condensed(cache_dir: Path) -> None:
    build(cache_dir, "book.txt")
    build(cache_dir, "book.txt", beacon="/cache/models--owner--trained/snapshots/abc", made_of="c")
    build(cache_dir, "book.txt", beacon="/elsewhere/my-beacon", made_of="d")
    build(cache_dir, "book.txt", beacon="/moved/my-beacon", made_of="e")
    for instruction, made_of in ((None, "f"), ([1, 2], "a")):
        build(cache_dir, "book.txt", made_of=made_of, method="select", instruction=instruction)
    names = [line.split("\t")[7] for line in run("cache", "list").out.splitlines()]
    assert sorted(names) == [
        "beacon my-beacon dddddddd", "beacon my-beacon eeeeeeee", "beacon owner/trained", "beacon pocket/beacon",
        "condensed by", "scorer pocket/beacon", "select",
    ]  # fmt: skip
    assert {each["condense"] for each in run("cache", "list", "--json").json} == {"beacon", "scorer", "select"}


def test_show_sets_records_apart(cache_dir: Path) -> None:
    keys = {build(cache_dir, "book.txt", ratio).key for ratio in (4, 8)}
    records = run("cache", "show", "book.txt").out.split("\n\n")
    assert {record.split()[1] for record in records} == keys
    listed = run("cache", "list", "--json").json
    assert run("cache", "show", "book.txt", "--json").json == listed
    assert run("cache", "show", listed[0]["key"], "--json").json == listed[0]


def test_json_names_the_model_and_what_was_read(cache_dir: Path) -> None:
    entry = build(cache_dir, "book.txt", made_of="c")
    (listed,) = run("cache", "list", "--json").json
    assert (listed["model"], listed["model_fingerprint"]) == ("owner/some-model", SUBJECT.identity.base)
    assert (listed["beacon"], listed["beacon_fingerprint"]) == ("/models/pocket/beacon", "c" * 64)
    assert (listed["document_kind"], listed["document_size"]) == ("pdf", SUBJECT.document.size)
    assert (listed["state"], listed["problem"], listed["intervals"]) == ("complete", None, 8)
    # Pages of the document; which of them were read is another matter.
    assert listed["page_count"] == SUBJECT.document.page_count
    assert "pages" not in listed
    (entry.folder / "manifest.json").write_text("{}")
    (listed,) = run("cache", "list", "--json").json
    assert listed["state"] == "unusable"
    assert "malformed" in listed["problem"]
    entry.folder.joinpath("manifest.json").unlink()
    assert run("cache", "list", "--json").json[0]["state"] == "unfinished"


def test_pruning_to_a_size_removes_everything_older_than_the_first_that_is_too_much() -> None:
    sizes = {"newest": 40, "too much": 70, "small but older": 10}
    summaries = [
        Summary(Entry(Path(name), Path("lock")), size, 1000.0 - number, None, None)
        for number, (name, size) in enumerate(sizes.items())
    ]

    def gone(max_size: int) -> list[str]:
        removals = select(summaries, older_than=None, max_size=max_size, unusable={})
        return [removal.summary.entry.key for removal in removals]

    assert gone(100) == ["too much", "small but older"]
    assert gone(110) == ["small but older"]
    assert gone(120) == []
    assert gone(30) == ["newest", "too much", "small but older"]
    unusable = select(summaries, older_than=None, max_size=50, unusable={"too much": "it cannot be read"})
    assert [(each.summary.entry.key, each.reason) for each in unusable] == [("too much", "it cannot be read")]


def test_what_is_pruned_is_said_in_plain_words(cache_dir: Path) -> None:
    entry = build(cache_dir, "book.txt")
    result = run("cache", "prune", "--max-size", "1kB")
    assert re.fullmatch(rf"{entry.key[:12]} book\.txt \(.* kB\): .*more than 1\.0 kB\n", result.out)
    assert "removed 1 of 1 condensed document (" in result.err


def test_an_export_of_several_says_what_sets_them_apart(cache_dir: Path) -> None:
    entries = [build(cache_dir, "book.txt", ratio) for ratio in (4, 8)]
    words = [f"{entry.key[:12]} (ratio {ratio}, 16 bits" for entry, ratio in zip(entries, (4, 8), strict=True)]
    assert_refused(run("cache", "export", "book.txt"), "condensed 2 times", *words)
    (entries[0].folder / "manifest.json").write_text("{}")
    assert_refused(run("cache", "export", entries[0].key), "cannot be read", "beacon cache verify")

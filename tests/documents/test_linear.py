"""What reading costs grows as the document does, whatever is in it."""

import ast
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from beacon_cli.documents.content import Kind
from beacon_cli.documents.worker.readers import open_file

PACKAGE = Path(__file__).parents[2] / "beacon_cli"
_parse = re._parser.parse  # type: ignore[attr-defined]  # nothing public tells what a pattern is made of


def _patterns() -> Iterator[tuple[str, str]]:
    """Every literal that is given to `re`, and where; a formatted one with its values left out."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if not isinstance(node.func.value, ast.Name) or node.func.value.id != "re":
                    continue
                given = node.args[0]
                parts = given.values if isinstance(given, ast.JoinedStr) else [given]
                text = ""
                for part in parts:
                    value = part.value if isinstance(part, ast.Constant) else "9"
                    text += value.decode("latin-1") if isinstance(value, bytes) else str(value)
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text


def _repeats(tree: object, *, within: bool = False) -> bool:
    """Whether something that repeats without end is in something else that does."""
    if isinstance(tree, tuple) and len(tree) == 2 and str(tree[0]).endswith("REPEAT"):
        _, most, inner = tree[1]
        endless = most == re._constants.MAXREPEAT  # type: ignore[attr-defined]  # as above
        return (endless and within) or _repeats(inner, within=within or endless)
    try:
        parts = list(tree)  # type: ignore[call-overload]  # a sequence, or a leaf
    except TypeError:
        return False
    return any(_repeats(part, within=within) for part in parts if not isinstance(part, str))


def test_the_scan_finds_nested_repetition() -> None:
    assert _repeats(_parse("(?:a+b)*"))
    assert not _repeats(_parse("(?:a+b)?c*"))


@pytest.mark.parametrize(("where", "pattern"), list(_patterns()), ids=lambda given: ascii(given)[:40])
def test_no_pattern_repeats_within_a_repetition(where: str, pattern: str) -> None:
    assert not _repeats(_parse(pattern)), f"{where}: {pattern}"


MANY = 1 << 14
ADVERSE: dict[str, tuple[Kind, Callable[[int], str]]] = {
    "a heading of spaces": ("markdown", lambda n: "# a" + " " * n + "b"),
    "a heading of tabs": ("markdown", lambda n: "# a" + "\t" * n + "b"),
    "headings": ("markdown", lambda n: "# a\n" * (n // 8)),
    "quotes": ("markdown", lambda n: "> a\n" * (n // 8)),
    "marks": ("text", lambda n: "a" + "\u0301\u0316" * (2 * n)),
    "broken words": ("text", lambda n: ("wo" * 30 + "-\n") * (n // 8)),
    "one broken word": ("text", lambda n: "a" * n + "-\nb"),
    "hyphens": ("text", lambda n: "a-" * n + "\n" + "a-" * n),
    "spaces": ("text", lambda n: " " * n + "x\n" + " " * n),
    "empty lines": ("text", lambda n: "x" + "\n" * n + "x"),
    "escapes": ("text", lambda n: "\x1b[" * n + "\x1b]" * n + "\x1b[" + "0" * n),
    "struck over": ("text", lambda n: "a\b" * n + "_\b" * n + "\b" * n + "x"),
    "few valid bytes": ("text", lambda n: "ж" * n + "\udcff" * (n // 8)),
    "preformatted": ("html", lambda n: "<pre>" + " " * n + "x\n" * (n // 2)),
    "breaks": ("html", lambda n: "<p>" + "<br> " * n + "x"),
    "superscripts": ("html", lambda n: "<p>1" + "<sup>2</sup>" * (n // 4)),
    "nested superscripts": ("html", lambda n: "<p>1" + "<sup>2" * 500 + "x" * n),
    "cells": ("html", lambda n: "<table><tr>" + "<td>x" * n),
    "rows": ("html", lambda n: "<table>" + "<tr><td><p>x" * (n // 4)),
    "lists": ("html", lambda n: "<ol>" + "<li>x" * n),
    "empty headings": ("html", lambda n: "<h1>x</h1>" * (n // 8)),
    "hidden formulas": ("html", lambda n: "<p>x</p>" + "<p style='display:none'>x</p>" * (n // 4)),
    "nested blocks": ("html", lambda n: "<div>" * n + "x" + "</div>" * n),
    "nested lists": ("html", lambda n: "<ul><li>" * n + "x"),
    "ends of nothing": ("html", lambda n: "<span></x>" * n + "x"),
    "open tags": ("html", lambda n: "<?xml ?>x" + "<a" * n + "<" + "a" * n),
    "references": ("html", lambda n: "<?xml ?><a>" + "&" * n + "&a" * n),
}


@pytest.mark.parametrize("name", ADVERSE)
def test_twice_the_size_costs_about_twice_the_time(name: str) -> None:
    kind, made = ADVERSE[name]

    def seconds(size: int) -> float:
        data = made(size).encode("utf-8", "surrogateescape")
        began = time.process_time()
        open_file(kind, BytesIO(data), "a", None)
        return time.process_time() - began

    seconds(64)  # what is done once
    small, large = seconds(MANY), min(seconds(4 * MANY) for _ in range(2))
    assert large < 0.1 or large < 10 * small, f"{small:.3f} s, and {large:.3f} s for four times as much"


def _book(contents: str) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        kind = 'media-type="application/xhtml+xml"'
        items = f'<item id="n" properties="nav" href="n.xhtml" {kind}/><item id="a" href="a.xhtml" {kind}/>'
        archive.writestr("a.opf", f'<package>{items}<itemref idref="a"/></package>')
        archive.writestr("n.xhtml", f'<nav epub:type="toc">{contents}</nav>')
        archive.writestr("a.xhtml", "<p>text</p>")
    return target.getvalue()


@pytest.mark.parametrize(
    "made", [lambda n: "<li><a href=a.xhtml>x</a>" * n, lambda n: "<li>" + "<p><a href=a.xhtml>x</a></p>" * n]
)
def test_a_table_of_contents_costs_no_more_than_its_size(made: Callable[[int], str]) -> None:
    began = time.process_time()
    open_file("epub", BytesIO(_book(made(5_000))), "a", None)
    assert time.process_time() - began < 5

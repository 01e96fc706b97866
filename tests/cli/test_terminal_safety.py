"""Whatever a name, a title, a heading, a text, an answer or an argument holds: no terminal obeys any of it."""

import re
from pathlib import Path

import pytest

from tests.cli.runner import Result, run
from tests.scripted import Script
from tests.stories import FACT, WHO_KEEPS, story

# The window's title, a colour, the cursor, a link, C1's own introducers, the direction of writing, bells, backspaces.
HOSTILE = (
    "\x1b]0;owned\x07\x1b[31m\x1b[2J\x1b]8;;http://x\x1b\\\x9b31m\x9d0;x\x9c\x85"
    "\u202eabc\u202c\u2066\u2069\b\x7f\x0e\x00"
)
NAME = "boo" + HOSTILE.replace("\0", "").replace("/", "") + "k"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def safe(result: Result) -> Result:
    """Nothing that a terminal obeys was written; one line says what is wrong, if anything is."""
    for written in (result.out, result.err):
        assert not RAW.search(written), ascii(written)
    assert "Traceback" not in result.err
    assert "unexpectedly" not in result.err, result.err
    return result


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    references = "".join(f"&#{ord(character)};" for character in HOSTILE if character != "\0")
    page = f"<title>A {references} title</title><h1>One {references}</h1><p>{FACT} {references}</p>"
    path = tmp_path / f"{NAME}.html"
    path.write_text(page + f"<p>{story(4)}</p>", encoding="utf-8")
    return path


def test_of_a_document(hostile: Path, says: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    says(f"Edda {HOSTILE} Voss")
    other = tmp_path / f"{NAME}.txt"
    other.write_text(f"Another \x1b]0;x\x07\x1b[31m\u202eabc one.\n\n{story(9)}", encoding="utf-8")
    for flags in ([], ["--json"], ["--text"]):
        assert safe(run("inspect", str(hostile), *flags)).code == 0
    for flags in ([], ["--json"]):
        answer = safe(run("ask", str(hostile), str(other), WHO_KEEPS + HOSTILE, *flags))
        assert answer.code == 0
        assert "Edda" in answer.out
        assert safe(run("cache", "build", str(hostile), "--refresh", *flags)).code == 0
        assert safe(run("cache", "list", *flags)).code == 0
        for entry in run("cache", "list", "--json").json:
            assert safe(run("cache", "show", entry["key"], *flags)).code == 0
        assert safe(run("cache", "verify", *flags)).code == 0
    assert answer.json["answer"].startswith("Edda \x1b]0;owned\x07")  # for machines it is whole, as escapes
    (key,) = (entry["key"] for entry in run("cache", "list", "--json").json if entry["document_kind"] == "html")
    assert safe(run("cache", "export", key)).code == 0
    assert safe(run("cache", "rm", "--all")).code == 0
    (archive,) = tmp_path.glob("*.beacon")
    assert safe(run("cache", "import", str(archive))).code == 0
    hostile.write_bytes(b"")
    assert safe(run("ask", str(hostile), WHO_KEEPS)).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", NAME, "who?"),
        ("ask", "book.txt", "who?", "--pages", NAME),
        ("ask", "book.txt", "who?", "--model", NAME),
        ("ask", "book.txt", "who?", "--beacon", NAME),
        ("ask", "book.txt", "who?", f"--{NAME}"),
        (NAME,),
        ("inspect", NAME),
        ("inspect", f"{NAME}*"),
        ("cache", NAME),
        ("cache", "build", "book.txt", "--ratio", NAME),
        ("cache", "show", NAME),
        ("cache", "rm", NAME),
        ("cache", "verify", NAME),
        ("cache", "export", NAME),
        ("cache", "import", NAME),
        ("cache", "list", "--sort", NAME),
        ("cache", "prune", "--older-than", NAME),
        ("models", "show", NAME),
        ("models", "pull", NAME),
        ("models", "rm", NAME),
        ("config", "get", NAME),
        ("config", "set", "model", NAME),
        ("config", "set", "ratio", NAME),
        ("eval", NAME),
        ("eval", "needle", NAME),
        ("train", NAME, "--out", "out"),
        ("train", "book.txt", "--out", NAME, "--objective", NAME),
    ],
    ids=lambda arguments: " ".join(arguments).replace(NAME, "NAME"),
)
def test_of_an_argument(arguments: tuple[str, ...], book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(book.parent)
    safe(run(*arguments))


def test_of_settings(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_RATIO", NAME)
    assert safe(run("ask", str(book), "who?")).code == 2
    monkeypatch.delenv("BEACON_RATIO")
    config = tmp_path / f"{NAME}.toml"
    config.write_text('ratio = "\\u001b]0;x\\u0007"\n"\\u001b[31m" = 1\n')
    monkeypatch.setenv("BEACON_CONFIG", str(config))
    assert safe(run("ask", str(book), "who?")).code == 2
    safe(run("config", "list"))

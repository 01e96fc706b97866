"""Web pages as browsers show them."""

from pathlib import Path

import pytest

from beacon_cli.documents import open_document


def _read(folder: Path, page: str | bytes) -> str:
    path = folder / "a.html"
    path.write_bytes(page if isinstance(page, bytes) else page.encode())
    with open_document(str(path)) as document:
        text = "\n\n".join(page.text for page in document.pages())
        assert document.warnings == []
        return text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<html><head><meta charset=utf-8><title>t</title><body><h1>Harbour</h1>The keeper.", "Harbour\n\nThe keeper."),
        ("<p>one<p>two<li>three", "one\n\ntwo\n\n- three"),
        ("<table><tr><td>a<td>b<tr><td><p>c</p><p>d</p></td><td>e</table>", "a | b\nc d | e"),
        ("<h3><button>What does it cost?</button></h3><div>31 euros</div>", "What does it cost?\n\n31 euros"),
        ("<button>A</button><button>B</button>", "A B"),
        ("<div hidden>unseen</div><div hidden=until-found>found</div>", "found"),
        ("<ol start=3><li>a<li><p>b</p><ol type=a><li>x</ol><ul><li>y</ul></ol>", "3. a\n4. b\na. x\n- y"),
        ("<p>a<br>b <img alt='Chart: 48 ships'> c", "a\nb [Chart: 48 ships] c"),
        ("<ruby>東京<rp>(</rp><rt>とうきょう</rt><rp>)</rp></ruby>", "東京(とうきょう)"),
        ("<p>10<sup>6</sup> m<sup>2</sup>, the 1<sup>st</sup>, H<sub>2</sub>O", "10^6 m^2, the 1st, H2O"),
        ("<p>so<sup><a href=#n>3</a></sup> it is<a href=#n><sup>[4]</sup></a>", "so[3] it is[4]"),
        ("<pre>a\n   b  \n</pre>", "a\n   b"),
        (
            "<dialog>shut</dialog><dialog open>open</dialog><noframes><p>old</p></noframes><details>in it",
            "open\n\nin it",
        ),
        ("<p style='visibility: collapse'>unseen<p>seen<template><p>a part</template>", "seen"),
    ],
)
def test_a_page_as_it_is_shown(tmp_path: Path, page: str, text: str) -> None:
    assert _read(tmp_path, page) == text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ('<math alttext="F = m a"><mi>F</mi></math>', "F = m a"),
        ('<math alttext="{\\displaystyle F=ma}"><mi>F</mi></math>', "F=ma"),
        (
            '<math><semantics><mi>x</mi><annotation encoding="application/x-tex">x_1</annotation></semantics></math>',
            "x_1",
        ),
        (
            "<math><msup><mi>a</mi><mn>2</mn></msup><mo>=</mo><mfrac><mn>1</mn><mrow><mi>x</mi><mo>+</mo><mn>1</mn></mrow>"
            "</mfrac><msqrt><mi>y</mi></msqrt></math>",
            "a^2 = 1/(x + 1) √y",
        ),
        ('<span style="display: none"><math alttext="c^2"></math></span><img alt="c^2" aria-hidden="true">', "c^2"),
    ],
)
def test_formulas(tmp_path: Path, formula: str, text: str) -> None:
    assert _read(tmp_path, f"<p>So {formula}.") == f"So {text}."


WORDS = "The keeper’s lamp costs 40 €."


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("<meta charset=iso-8859-1>", "cp1252"),
        ("<meta http-equiv=content-type content='text/html; charset=latin1'>", "cp1252"),
        ("<meta charset=utf-16>", "utf-8"),
        ("<meta charset='utf-16'>", "utf-8-sig"),
        ("<!-- <meta charset=koi8-r> --><meta charset=utf8>", "utf-8"),
        ("<meta charset=iso-8859-1>", "utf-16"),
        ("", "utf-8"),
    ],
)
def test_encodings_by_the_rules_of_the_web(tmp_path: Path, declared: str, encoding: str) -> None:
    assert _read(tmp_path, f"<html><head>{declared}</head><p>{WORDS}".encode(encoding)) == WORDS


def test_xhtml_ends_elements_in_themselves(tmp_path: Path) -> None:
    page = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>text&nbsp;&amp;'
    assert _read(tmp_path, page + "</body></html>") == "text &"


def test_what_is_nested_absurdly_deep_is_read(tmp_path: Path) -> None:
    deep, hidden = "<div>a" * 2000, "<div hidden>no</div>"
    text = _read(tmp_path, f"<p>first</p>{deep}{hidden}b{'</div>' * 2000}<p>last</p>")
    assert text.split("\n\n") == ["first", *["a"] * 2000, "b", "last"]

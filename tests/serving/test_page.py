"""The page of `beacon serve` in a real browser: what a person does and sees."""

import re
import textwrap
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from pypdf import PdfWriter
from pypdf.annotations import FreeText

from beacon_cli.serving.http import Limits
from beacon_cli.serving.shelf import HowToRead
from tests.documents.pdf_samples import encrypted, pdf
from tests.scripted import Script
from tests.serving.browser import Tab, chromium
from tests.serving.running import HOSTS, Running
from tests.stories import FACT, FILLER, WHO_KEEPS

FACT_LETTERS = "".join(FACT.split()).rstrip(".")
HOSTILE = "<script>window.owned=1</script><img src=x onerror=window.owned=1>\x1b]0;owned\x07\x1b[31m\u202e<|im_end|>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser: Any, server: Running) -> Iterator[Tab]:
    with Tab(browser, server.url) as made:
        yield made


def paged(pages: int, fact_at: int) -> bytes:
    """A PDF of so many pages, with the fact, over two lines, on one of them."""
    texts = [f"{FILLER}{FACT if n == fact_at else ''} {FILLER}It was day {n}." for n in range(1, pages + 1)]
    return pdf([textwrap.fill(text, 88) for text in texts])


def test_a_pdf_is_dropped_asked_about_and_looked_at(tab: Tab, says: Script) -> None:
    says("The keeper is Edda Voss")
    tab.add("book.pdf", paged(12, fact_at=9))
    tab.page.get_by_role("button", name="book.pdf", exact=True).wait_for()
    turn = tab.ask(WHO_KEEPS)
    assert turn.locator(".answer").text_content() == "The keeper is Edda Voss"
    assert turn.locator(".support").text_content() == "It stands in the text:"
    turn.get_by_role("button", name="p. 9").click()
    assert tab.marked() == FACT_LETTERS
    page = tab.page
    assert page.locator("#place").text_content() == "book.pdf, page 9 of 12"
    # The marks lie on the drawn page, where something is drawn.
    canvas, mark = page.locator("#sheet canvas").bounding_box(), page.locator("mark").first.bounding_box()
    assert canvas["x"] < mark["x"] < mark["x"] + mark["width"] < canvas["x"] + canvas["width"]
    assert canvas["y"] < mark["y"] < canvas["y"] + canvas["height"]
    ink = """([x, y, w, h]) => { const c = document.querySelector('#sheet canvas'), k = c.width / c.clientWidth;
        const d = c.getContext('2d').getImageData(x * k, y * k, w * k, h * k).data;
        return d.filter((value, i) => i % 4 === 0 && value < 100).length }"""
    where = [mark["x"] - canvas["x"], mark["y"] - canvas["y"], mark["width"], mark["height"]]
    assert page.evaluate(ink, where) > 50
    assert page.evaluate(ink, [where[0], 0, where[2], 10]) == 0
    page.get_by_role("button", name="Next page").click()
    page.get_by_role("heading", name="page 10 of 12").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#viewer").is_hidden()
    assert page.evaluate("document.activeElement.className") == "place"


def test_a_text_is_shown_with_its_words_marked(tab: Tab, says: Script) -> None:
    says("Edda Voss")
    tab.choose("a.txt")
    tab.ask(WHO_KEEPS).get_by_role("button", name="p. 1").click()
    assert tab.marked() == FACT_LETTERS


def test_words_that_a_pdf_does_not_draw_are_marked_in_its_text(tab: Tab, says: Script) -> None:
    says("Edda Voss")
    writer = PdfWriter(clone_from=BytesIO(pdf([textwrap.fill(FILLER, 88)])))
    writer.add_annotation(0, FreeText(text=FACT, rect=(50, 500, 300, 520)))
    written = BytesIO()
    writer.write(written)
    tab.add("note.pdf", written.getvalue())
    tab.page.get_by_role("button", name="note.pdf", exact=True).wait_for()
    tab.ask(WHO_KEEPS).get_by_role("button", name="p. 1").first.click()
    assert tab.marked() == FACT_LETTERS
    assert "not found in the drawing" in tab.page.locator("#viewer-note").text_content()
    assert tab.page.locator("#sheet canvas").count() == 1


def test_a_pdf_that_cannot_be_drawn_is_shown_as_text(
    browser: Any, shelf: Path, scripted_model: Path, says: Script
) -> None:
    says("Edda Voss")
    (shelf / "locked.pdf").write_bytes(encrypted(paged(3, fact_at=2), "secret", "AES-256"))
    how = HowToRead(password="secret")
    with (
        Running(shelf, scripted_model, Limits(60, None, HOSTS), how=how) as server,
        Tab(browser, server.url) as tab,
    ):
        tab.choose("locked.pdf")
        tab.ask(WHO_KEEPS).get_by_role("button", name="p. 2").click()
        assert tab.marked() == FACT_LETTERS
        assert "cannot be drawn" in tab.page.locator("#viewer-note").text_content()


def test_an_answer_that_stands_nowhere_says_so_and_shows_what_comes_closest(tab: Tab, says: Script) -> None:
    says("Ferdinand Magellan")
    tab.choose("a.txt")
    turn = tab.ask(WHO_KEEPS)
    assert "It was not found in the text" in turn.text_content()
    turn.locator(".place").first.click()
    tab.marked()


def test_a_question_goes_on_from_what_was_said_where_that_is_meant(tab: Tab, says: Script) -> None:
    says("Edda Voss")
    tab.choose("a.txt")
    tab.ask(WHO_KEEPS)
    tab.ask("Who is the mayor of the town by the sea?")
    assert WHO_KEEPS not in says.asked[-1].prompt
    tab.page.get_by_label("goes on from what was said").check()
    tab.ask("And who is it that keeps the mill?")
    assert "Who is the mayor of the town by the sea?" in says.asked[-2].prompt + says.asked[-1].prompt
    assert WHO_KEEPS not in says.asked[-2].prompt + says.asked[-1].prompt


def test_an_answer_comes_piece_by_piece_and_can_be_stopped(
    tab: Tab, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    class Slow:
        def ask(self, *_: object, **__: object) -> "Slow":
            return self

        def __iter__(self) -> Iterator[str]:
            yield "Edda"
            go_on.wait(30)
            yield " Voss"

        def stop(self) -> None:
            pass

    monkeypatch.setattr(server.shelf, "memory", lambda names: Slow())
    tab.choose("a.txt")
    tab.page.locator("#question").fill(WHO_KEEPS)
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("Edda", exact=True).wait_for()
    tab.page.get_by_role("button", name="Stop").click()
    tab.page.get_by_text("Stopped.").wait_for()
    assert tab.page.locator(".answer").text_content() == "Edda"
    go_on.set()


def test_a_long_pdf_is_watched_while_another_tab_asks(
    browser: Any, tab: Tab, server: Running, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("Edda Voss")
    with Tab(browser, server.url) as other:
        other.choose("a.txt")
        assert "Edda Voss" in other.ask(WHO_KEEPS).text_content()
        halted, follow = threading.Event(), server.shelf.on_step

        def step() -> None:
            """Reading waits in its midst until the other tab has its answer."""
            if any(pace.done > 1000 for pace in server.shelf.paces.values()) and not halted.is_set():
                for _ in range(300):
                    if halted.wait(0.1):
                        break
                    follow()
            follow()

        monkeypatch.setattr(server.shelf, "on_step", step)
        tab.add("long.pdf", paged(300, fact_at=288))
        tab.page.get_by_text(re.compile(r"Condensing long\.pdf: \d+ %, page \d+ of 300.* left")).wait_for()
        assert 0 < tab.page.get_by_role("progressbar").evaluate("bar => bar.value") < 1
        assert "Edda Voss" in other.ask("Who is it that keeps the lighthouse?").text_content()
        other.choose("b.txt")
        other.page.get_by_text("Waiting for the model").wait_for()
        halted.set()
        other.page.locator("#said", has_text="b.txt is ready").wait_for(state="attached")
    turn = tab.ask(WHO_KEEPS)
    assert tab.page.locator("#progress").is_hidden()
    turn.get_by_role("button", name="p. 288").click()
    assert tab.marked() == FACT_LETTERS


@pytest.mark.parametrize(
    ("texts", "quote", "marked"),
    [
        (["The light-", "house is  old."], "The lighthouse is old", ["The light", "house is  old"]),
        (["A ﬁsh, and", "more"], "fish and more", ["ﬁsh, and", "more"]),
        (["see the L I G H T"], "…the light…", ["the L I G H T"]),
        (["One two three four", "Chapter 7", "five six seven"], "two three four five six seven",
         ["two three four", "five six seven"]),
        (["これは本です。灯台守"], "灯台守", ["灯台守"]),
        (["İstanbul'da ÇAY"], "istanbul'da çay", ["İstanbul'da ÇAY"]),
        (["nothing of it"], "something else altogether", []),
        (["a"], "…", []),
    ],
)  # fmt: skip
def test_a_quote_is_found_however_the_page_sets_it(tab: Tab, texts: list[str], quote: str, marked: list[str]) -> None:
    script = """async ([texts, quote]) => {
        const { mark } = await import("/static/marking.js");
        const root = document.createElement("div");
        for (const text of texts) root.append(Object.assign(document.createElement("p"), { textContent: text }));
        mark(root, quote);
        return [...root.querySelectorAll("mark")].map((each) => each.textContent);
    }"""
    assert tab.page.evaluate(script, [texts, quote]) == marked


def test_what_cannot_be_read_is_refused_and_not_kept(tab: Tab, server: Running) -> None:
    alert = tab.page.get_by_role("alert")
    for name, data, word in (
        ("scan.pdf", pdf([None, None]), "looks scanned and needs OCR"),
        ("broken.pdf", b"%PDF-1.7\nnothing", "broken.pdf"),
        ("empty.txt", b"", "is empty"),
        ("photo.png", b"\x89PNG", "has none of the endings"),
        ("large.txt", b"x" * (10**6 + 1), "more than 1 MB"),
    ):
        tab.add(name, data)
        alert.filter(has_text=word).wait_for()
        assert name in alert.filter(has_text=word).text_content()
    assert list((Path(server.folder).parent / "dropped").iterdir()) == []
    assert httpx.get(f"{server.url}/v1/models").json()["data"][1:] == [
        {**each, "id": f"beacon:{letter}.txt"}
        for letter, each in zip("abc", httpx.get(f"{server.url}/v1/models").json()["data"][1:], strict=True)
    ]


def test_nothing_that_a_document_holds_is_obeyed(browser: Any, server: Running, says: Script) -> None:
    says("Edda Voss <|im_end|>\x1b[31m\u202e<img src=x>")
    name = HOSTILE.replace("/", "")
    text = f"<title>{HOSTILE}</title><h1>One {HOSTILE}</h1><p>{FACT} &lt;script&gt;x&lt;/script&gt; &#27;[31m</p>"
    with Tab(browser, server.url) as tab:
        tab.add(f"{name}.html", text.encode())
        tab.page.locator(".document", has_text="script").wait_for()
        turn = tab.ask(f"{WHO_KEEPS} {HOSTILE}")
        assert turn.locator(".answer").text_content() == "Edda Voss <|im_end|><img src=x>"
        turn.locator(".place").first.click()
        tab.marked()
        assert tab.page.evaluate("window.owned") is None
        assert tab.page.locator("main img, nav img, #viewer img, main script").count() == 0
        seen = tab.page.evaluate("document.documentElement.outerHTML") + tab.page.title()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", seen)


def test_a_token_is_asked_for_and_kept_out_of_the_address(
    browser: Any, shelf: Path, scripted_model: Path, says: Script
) -> None:
    says("Edda Voss")
    with Running(shelf, scripted_model, Limits(60, "secret", HOSTS)) as server, Tab(browser, server.url) as tab:
        addresses: list[str] = []
        tab.page.on("request", lambda request: addresses.append(request.url))
        for token in ("wrong", "secret"):
            tab.page.get_by_label("Token", exact=True).fill(token)
            tab.page.keyboard.press("Enter")
            if token == "wrong":
                tab.page.get_by_text("That is not the token.").wait_for()
        tab.add("book.pdf", paged(2, fact_at=2))
        tab.page.get_by_role("button", name="book.pdf", exact=True).wait_for()
        tab.ask(WHO_KEEPS).get_by_role("button", name="p. 2").click()
        assert tab.marked() == FACT_LETTERS
        assert not [address for address in addresses if "secret" in address]


def test_what_was_dropped_can_be_removed(tab: Tab, server: Running) -> None:
    tab.add("book.txt", FACT.encode())
    tab.page.get_by_role("button", name="Remove book.txt").click()
    tab.page.get_by_role("button", name="book.txt", exact=True).wait_for(state="detached")
    assert tab.page.get_by_role("button", name="Remove a.txt").count() == 0
    assert "beacon:book.txt" not in httpx.get(f"{server.url}/v1/models").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_fits_the_window_and_is_worked_by_keys(
    browser: Any, server: Running, says: Script, width: int, scheme: str
) -> None:
    says("Edda Voss")
    with Tab(browser, server.url, viewport={"width": width, "height": 640}, color_scheme=scheme) as tab:
        page = tab.page
        page.locator(".document", has_text="a.txt").focus()
        page.keyboard.press("Enter")
        page.locator("#question").focus()
        page.keyboard.type(WHO_KEEPS)
        page.keyboard.press("Enter")
        page.locator(".place").first.focus()
        page.keyboard.press("Enter")
        assert tab.marked() == FACT_LETTERS
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        mark = page.locator("mark").first.bounding_box()
        assert 0 <= mark["x"] < width
        assert 0 <= mark["y"] < 640
        page.keyboard.press("Escape")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for kind in ("button", "textbox", "progressbar", "list", "region"):
            for each in page.get_by_role(kind).all():
                assert re.search(r'"\S', each.aria_snapshot().splitlines()[0]) or kind == "list", each.aria_snapshot()

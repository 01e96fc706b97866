"""The documents that the README's commands ask about."""

import re
from pathlib import Path

from beacon_cli.documents import Page, PageSelection, open_document

EXAMPLES = Path(__file__).parents[2] / "examples"


def _read(name: str, selection: str = "1-") -> list[Page]:
    with open_document(str(EXAMPLES / name), pages=PageSelection.parse(selection)) as document:
        assert document.source.page_count >= 100
        return list(document.pages())


def test_the_factbook_reads_cleanly() -> None:
    pages = _read("world-factbook.pdf", "2,26-47")
    contents, opening, *body = (page.text for page in pages)
    assert re.findall(r"^(\D+) (\d+)$", contents, re.MULTILINE)[1] == ("Iceland", "26")
    assert opening.startswith("Iceland\n\nIntroduction\n\nBackground. Settled by Norwegian and Celtic")
    assert opening.endswith("\n\nMap references. Arctic Region")
    assert all(text.startswith("Iceland\n\n") and text.count("\nIceland\n") == 0 for text in body)
    assert any("\n\nCapital. name: Reykjavik\ngeographic coordinates: 64 09 N, 21 57 W\n" in text for text in body)
    assert "\n\nArea. total: 103,000 sq km\nland: 100,250 sq km\nwater: 2,750 sq km\n\n" in body[0]


def test_the_factbook_has_a_title_and_no_labels() -> None:
    with open_document(str(EXAMPLES / "world-factbook.pdf")) as document:
        assert document.source.title == "The World Factbook: Five Countries"
    assert all(page.label is None for page in _read("world-factbook.pdf", "1-5"))


def test_the_time_machine_reads_as_it_is() -> None:
    pages = _read("the-time-machine.txt")
    whole = (EXAMPLES / "the-time-machine.txt").read_text(encoding="utf-8")
    assert "\n\n".join(page.text for page in pages).split() == whole.split()
    assert pages[0].text.startswith("The Time Machine\n\nby H. G. Wells\n\nI\n\nIntroduction\n\nThe Time Traveller")

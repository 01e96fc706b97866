"""Documents to ask about, written by the tests themselves."""

from pathlib import Path

import pytest

from beacon_cli.console import progress

FILLER = (
    "The road went on between low walls, and nobody spoke for a while. A cart passed them near the mill. "
    "Rain had fallen in the night and the ditches were full. They rested twice before noon, and ate what they had. "
)
FACT = "The keeper of the Morvane lighthouse is called Edda Voss."


def story(paragraphs: int, fact_at: int | None = None) -> str:
    """So many paragraphs of about 60 tokens, with the fact as one of them."""
    parts = [f"{FILLER}It was day {number}." for number in range(paragraphs)]
    if fact_at is not None:
        parts[fact_at] = FACT
    return "\n\n".join(parts) + "\n"


@pytest.fixture(autouse=True)
def _no_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which come every ten seconds: on a slow machine more of them."""
    monkeypatch.setattr(progress, "EVERY", float("inf"))


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of a good thousand tokens: several intervals of the pocket model."""
    path = tmp_path / "book.txt"
    path.write_text(story(20, fact_at=7))
    return path

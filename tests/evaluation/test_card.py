"""The pocket model's card is what its generator makes of the results that are kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.evaluation.records import Record
from beacon_cli.evaluation.report import results, write
from recipes.pocket import card
from recipes.pocket.card import filled

ROOT = Path(__file__).parents[2]


def test_the_card_is_generated() -> None:
    template = (ROOT / "recipes/pocket/card.md").read_text(encoding="utf-8")
    assert filled(template) == (ROOT / "models/beacon_pocket/README.md").read_text(encoding="utf-8")


RECORDS = [
    Record("beacon 8x", str(n), {"length": 131_072}, {"found": float(n < 3)}, None, 1.0, {"answer": "?"})
    for n in range(4)
]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of evaluations beside an empty model and nothing kept."""
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(card, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(card, "MODEL", tmp_path / "model")
    header: dict[str, Any] = {"task": "passkey", "command": "beacon eval passkey /home/me/x.txt --out /y --samples 4"}
    (tmp_path / "eval" / "passkey").mkdir(parents=True)
    write(tmp_path / "eval" / "passkey", results({**header, "samples": 4}, "length", RECORDS, ["found"]))
    (tmp_path / "eval" / "passkey" / "passkey.png").write_bytes(b"picture")
    return tmp_path


def test_an_evaluation_becomes_a_table_with_its_command_and_picture(folders: Path) -> None:
    card.keep(folders / "eval")
    made = filled("Before {{passkey}} after.")
    assert "`beacon eval passkey x.txt --samples 4`" in made
    assert "| beacon 8x | 75 % [30–95] |" in made
    assert made.endswith("![pass keys found against the length of the text](passkey.png) after.")
    assert (folders / "model" / "passkey.png").read_bytes() == b"picture"


def test_single_figures(folders: Path) -> None:
    card.keep(folders / "eval")
    assert filled("{{passkey.beacon 8x.131072}}, {{passkey.task}}!") == "75 % [30–95], passkey!"


@pytest.mark.parametrize("name", ["needle.full.4096", "passkey.full.131072"])
def test_what_was_not_measured_is_not_passed_over(folders: Path, name: str) -> None:
    card.keep(folders / "eval")
    assert filled("{{needle}} {{ordering}}") == "Not measured. Not measured."
    with pytest.raises(SystemExit, match="nothing measured is called"):
        filled(f"{{{{{name}}}}}")


def test_a_comparison_is_kept_as_averages(folders: Path) -> None:
    records = [vars(Record("full", "q-1", {"set": "q"}, {"exact": 1.0, "f1": 0.5}, None, 1.0, {"answer": "?"}))]
    written = folders / "kvpress.json"
    written.write_text(json.dumps({"command": "x.py --kvpress /p/python --samples 1 /q.jsonl", "records": records}))
    card.keep(folders / "eval")
    card.keep_comparison(written)
    made = filled("{{kvpress}} {{kvpress.full.q.f1}}")
    assert "`x.py --samples 1 q.jsonl`" in made
    assert made.endswith("50 % [50–50]")

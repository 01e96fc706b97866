"""The pocket model's card is what its generator makes of the results that are kept."""

import json
from pathlib import Path

from recipes.pocket.card import filled

ROOT = Path(__file__).parents[2]


def test_the_card_is_generated() -> None:
    measured = json.loads((ROOT / "models/beacon_pocket/measured.json").read_text(encoding="utf-8"))
    template = (ROOT / "recipes/pocket/card.md").read_text(encoding="utf-8")
    assert "".join(filled(template, measured)) == (ROOT / "models/beacon_pocket/README.md").read_text(encoding="utf-8")

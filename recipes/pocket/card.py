"""Write the model card from what `measure.py` measured.

python -m recipes.pocket.card --measured models/beacon_pocket/measured.json --out models/beacon_pocket/README.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

COLUMNS = ["full", "4x", "8x", "16x", "ask"]


def table(measured: dict[str, Any]) -> str:
    lines = [
        "| set | questions | " + " | ".join(COLUMNS) + " | with a page |",
        "|---|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for name, modes in measured.items():
        if name == "modes":
            continue
        ask = modes["ask"]
        cells = [f"{100 * modes[c]['exact']:.0f} / {100 * modes[c]['f1']:.0f}" if c in modes else "–" for c in COLUMNS]
        page = f"{100 * ask['cited']:.0f}" if ask["exact"] else "–"
        lines.append(f"| {name} | {ask['questions']} | " + " | ".join(cells) + f" | {page} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--template", type=Path, default=Path(__file__).with_name("card.md"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    measured = json.loads(options.measured.read_text(encoding="utf-8"))
    card = options.template.read_text(encoding="utf-8").replace("{{table}}", table(measured))
    options.out.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()

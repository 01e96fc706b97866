"""Write the model card from what was measured.

    python -m recipes.pocket.card --evaluations runs/pocket/eval

EVALUATIONS is a folder of the results of `beacon eval`, a folder each (see the recipe's README); they are kept, without
the single samples, in `recipes/pocket/evaluation`, from which the card can be written again without it. What `measure`
found is in `models/beacon_pocket/measured.json`; what `kvpress_comparison` found, in `evaluation/kvpress.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beacon_cli.evaluation.records import Record
from beacon_cli.evaluation.report import Row, aggregate, markdown, rows_of, table

KEPT = Path(__file__).with_name("evaluation")
MODEL = Path(__file__).parents[2] / "models" / "beacon_pocket"
COLUMNS = ["full", "4x", "8x", "16x", "ask"]
MAP = "needle-map.png"


def keep(evaluations: Path) -> None:
    """Copy results, without their samples, and the needle's map."""
    KEPT.mkdir(exist_ok=True)
    for path in sorted(evaluations.glob("*/results.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        del found["samples"]
        # Where the files were on this disk says nothing to others.
        command = " ".join(word.rpartition("/")[2] for word in found["command"].split())
        found["command"] = command.partition(" --out")[0]
        text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
        (KEPT / f"{path.parent.name}.json").write_text(text, encoding="utf-8")
        if (path.parent / MAP).exists():
            shutil.copyfile(path.parent / MAP, MODEL / MAP)


def measured_table(measured: dict[str, Any]) -> str:
    """Of the recipe's own measurements."""
    rows = []
    for name, modes in measured.items():
        if name == "modes":
            continue
        ask = modes["ask"]
        cells = [f"{100 * modes[c]['exact']:.0f} / {100 * modes[c]['f1']:.0f}" if c in modes else "–" for c in COLUMNS]
        page = f"{100 * ask['cited']:.0f}" if ask["exact"] else "–"
        rows.append([name, str(ask["questions"]), *cells, page])
    return markdown(["set", "questions", *COLUMNS, "with a page"], rows)


def evaluated(name: str) -> str:
    """The table of one evaluation, with the command that made it."""
    path = KEPT / f"{name}.json"
    if not path.exists():
        return "Not measured.\n"
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"`{found['command']}`\n\n{markdown(*table(rows_of(found), found['axis']))}"


def compared() -> str:
    """The comparison with kvpress."""
    path = KEPT / "kvpress.json"
    if not path.exists():
        return "Not measured.\n"
    rows = [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    return markdown(*table(rows, "set"))


def keep_comparison(path: Path) -> None:
    """The averages of every answer that `kvpress_comparison --out` wrote."""
    records = [Record(**record) for record in json.loads(path.read_text(encoding="utf-8"))]
    rows = [vars(row) for row in aggregate(records, ["set"])]
    (KEPT / "kvpress.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def filled(template: str, measured: dict[str, Any]) -> Iterator[str]:
    """The card, piece by piece: `{{name}}` stands for a table."""
    for part in template.split("{{"):
        name, closed, rest = part.partition("}}")
        if not closed:
            yield part
            continue
        made = {"measured": lambda: measured_table(measured), "kvpress": compared}
        yield made.get(name, lambda name=name: evaluated(name))().rstrip("\n") + rest  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=Path, help="folder of results of `beacon eval`")
    parser.add_argument("--kvpress", type=Path, help="what kvpress_comparison --out wrote")
    options = parser.parse_args()
    if options.evaluations:
        keep(options.evaluations)
    if options.kvpress:
        keep_comparison(options.kvpress)
    measured = json.loads((MODEL / "measured.json").read_text(encoding="utf-8"))
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    (MODEL / "README.md").write_text("".join(filled(template, measured)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the model card from what was measured.

    python -m recipes.pocket.card --evaluations runs/pocket/eval --kvpress runs/pocket/kvpress.json

EVALUATIONS is a folder of the results of `beacon eval --out`, a folder each (see the recipe's README); `--kvpress` is
what `benchmarks/kvpress_comparison.py --out` wrote. What the card needs of them is kept in `recipes/pocket/evaluation`,
from which it can be written again without them, as is what `recipes.pocket.ordering` found.

`card.md` is the card with places to fill:

    {{passkey}}                         command, table and pictures of the evaluation in the folder `passkey`
    {{kvpress}} {{ordering}}            the tables of the comparison and of `recipes.pocket.ordering`
    {{passkey.samples}}                 a setting of that evaluation: what the file has under this name
    {{passkey.beacon 32x.131072}}       one cell: evaluation, method, column (and metric, if there are several)

Instead of a table of what is not there the card says so; a single figure that is not there stops the writing.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from beacon_cli.evaluation.records import Record
from beacon_cli.evaluation.report import aggregate, caption, cell, markdown, rows_of, table
from recipes.pocket import ordering

KEPT = Path(__file__).with_name("evaluation")
MODEL = Path(__file__).parents[2] / "models" / "beacon_pocket"
# What is shown of each evaluation, and the most that a picture in the package may take.
PICTURES = {
    "passkey.png": "pass keys found against the length of the text",
    "needle-map.png": "where needles are found",
    "perplexity.png": "perplexity against the position in the text",
}
PICTURE_BYTES = 80_000
PLACE = re.compile(r"\{\{(.+?)\}\}")


def keep(evaluations: Path) -> None:
    """Copy results, without their samples, and the pictures."""
    KEPT.mkdir(exist_ok=True)
    for path in sorted(evaluations.glob("*/results.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        del found["samples"]
        found["command"], found["model"] = _bare(found["command"]), Path(found.get("model", "")).name
        text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
        (KEPT / f"{path.parent.name}.json").write_text(text, encoding="utf-8")
        for picture in path.parent.glob("*.png"):
            if picture.name in PICTURES:
                if picture.stat().st_size > PICTURE_BYTES:
                    raise SystemExit(f"{picture} takes more than {PICTURE_BYTES:,} bytes: it would go into the package")
                shutil.copyfile(picture, MODEL / picture.name)


def keep_comparison(path: Path) -> None:
    """The averages of every answer that `kvpress_comparison --out` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    records = [Record(**record) for record in found["records"]]
    rows = [vars(row) for row in aggregate(records, ["set"])]
    kept = {**found, "command": _bare(found["command"]), "axis": "set", "rows": rows}
    del kept["records"]
    (KEPT / "kvpress.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _bare(command: str) -> str:
    """A command without the folders of the disk that it ran on, and where its results went."""
    return re.sub(r" --(out|kvpress) \S+", "", " ".join(word.rpartition("/")[2] for word in command.split()))


def evaluated(name: str) -> str:
    """One evaluation: its command, what its figures are, its table and its pictures."""
    found = _kept(name)
    rows = rows_of(found)
    parts = [f"`{found['command']}`", caption(rows, found["axis"]) + ":", markdown(*table(rows, found["axis"]))]
    for picture, title in PICTURES.items():
        if picture in (f"{name}.png", f"{name}-map.png") and (MODEL / picture).exists():
            parts.append(f"![{title}]({picture})\n")
    return "\n\n".join(part.rstrip("\n") for part in parts)


def figure(name: str, rest: list[str]) -> str:
    """One figure, by the names that lead to it, see above."""
    found = _kept(name)
    if len(rest) == 1:
        return str(found[rest[0]])
    method, column, *metric = rest
    (row,) = (
        row
        for row in rows_of(found)
        if (row.method, str(row.group[found["axis"]])) == (method, column) and row.metric in (metric or [row.metric])
    )
    return cell(row, count=False)


def filled(template: str) -> str:
    """The card."""

    def fill(place: re.Match[str]) -> str:
        name, *rest = place[1].split(".")
        try:
            if rest:
                return figure(name, rest)
            if not _path(name).exists():
                return "Not measured."
            if name == "ordering":
                return ordering.table(_kept(name)).rstrip("\n")
            return evaluated(name)
        except (KeyError, ValueError) as error:
            raise SystemExit(f"card.md: nothing measured is called {place[0]} ({error})") from error

    return PLACE.sub(fill, template)


def _path(name: str) -> Path:
    return KEPT / f"{name}.json"


def _kept(name: str) -> dict[str, Any]:
    if not _path(name).exists():
        raise KeyError(f"there is no {_path(name)}")
    found: dict[str, Any] = json.loads(_path(name).read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=Path, help="folder of results of `beacon eval`")
    parser.add_argument("--kvpress", type=Path, help="what kvpress_comparison --out wrote")
    options = parser.parse_args()
    if options.evaluations:
        keep(options.evaluations)
    if options.kvpress:
        keep_comparison(options.kvpress)
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    (MODEL / "README.md").write_text(filled(template), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The card of the reader that ships, from what was measured of it (`reading.json`) and what it says of itself."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from beacon_cli.checkpoints.local.model_folder import READER, READER_CONFIG
from beacon_cli.evaluation.report import markdown
from recipes.smollm2 import base

SHIPPED = Path(__file__).parents[1] / "models" / "beacon_smollm2"
RUNS = {
    "pocket": "the pocket model before, through the tool",
    "smollm2": "SmolLM2 as it comes",
    "reader": "**with the reader**",
    "tool": "**with the reader, through the tool**",
    "qwen": "Qwen2.5-Coder-0.5B-Instruct",
}
TITLES = {
    "single": "SQuAD: the paragraph alone",
    "among_2": "… among 2 others",
    "among_5": "… among 5 others",
    "unanswerable": "… which does not answer",
    "factbook": "factbook: a section",
    "fairytaleqa": "FairytaleQA: a section",
    "books": "books",
    "natural": "natural questions",
    "natural_none": "… which the text does not answer",
}

Figures = Mapping[str, Mapping[str, Any]]

TEXT = Path(__file__).with_suffix(".md")


def write_card(runs: Mapping[str, Figures]) -> None:
    """Write the card of what ships."""
    (SHIPPED / "README.md").write_text(card(runs), "utf-8")


def card(runs: Mapping[str, Figures]) -> str:
    """The card, in Markdown."""
    config = json.loads((SHIPPED / READER_CONFIG).read_text("utf-8"))
    weights = SHIPPED / READER
    modules = [f"`{name}`" for name in config["target_modules"]]
    asked = runs.get("reader", {}).get("sets", {}).get("natural", {}).get("questions", 0)
    return TEXT.read_text("utf-8").format_map(
        config
        | {
            "modules": f"{', '.join(modules[:-1])} and {modules[-1]}",
            "size": weights.stat().st_size / 1e6,
            "parameters": weights.stat().st_size / 2e6,
            "sha256": base.fingerprint(weights),
            "beacon": _beacon(SHIPPED / "beacon"),
            "limits": "\n".join(f"- {limit}" for limit in _limits({name: run["sets"] for name, run in runs.items()})),
            "table": _table(runs),
            "natural": asked,
        }
    )


def _beacon(folder: Path) -> str:
    """The line about the beacon, if one ships."""
    if not (path := folder / "beacon_config.json").exists():
        return ""
    settings = json.loads(path.read_text("utf-8"))["settings"]
    size = (folder / "beacon.safetensors").stat().st_size / 1e6
    ratios = ", ".join(map(str, settings["ratios"]))
    return (
        f"- `beacon/`: an Activation Beacon ({size:.1f} MB): window {settings['window']}, ratios {ratios}, projections "
        f"of its own for {', '.join(settings['param'])}; trained on\n  the base with the reader merged into it, on the "
        "same questions and on books of Project Gutenberg (public domain).\n"
    )


def _limits(runs: Mapping[str, Figures]) -> Iterator[str]:
    """What figures say that it cannot do, a paragraph each."""
    alone, tool = runs.get("reader", {}), runs.get("tool", {})
    if "unanswerable" in alone:
        yield (
            "Know what it does not know: of SQuAD's questions that their paragraph does not answer, which were written "
            f"to mislead, it refuses {alone['unanswerable']['refused']:.0f} % and answers the rest wrongly; and it "
            f"refuses {alone['single']['refused']:.0f} % of those that the paragraph does answer."
        )
        yield (
            "Find its way in much text: with the paragraph alone, it answers "
            f"{alone['single']['exact']:.0f} % of SQuAD's questions exactly, among five other paragraphs "
            f"{alone['among_5']['exact']:.0f} %."
        )
        yield (
            "Follow a story: FairytaleQA's questions about a section it answers exactly in "
            f"{alone['fairytaleqa']['exact']:.0f} %, with F1 {alone['fairytaleqa']['f1']:.0f}."
        )
    if "natural" in tool:
        asked, none = tool["natural"], tool["natural_none"]
        yield (
            f"Answer about a long document with any reliability: of {asked['questions']} questions about real PDFs and "
            f"books, asked through the tool, {asked['contained']:.0f} % were answered rightly, {asked['page']:.0f} % "
            f"with the right page named; of the answers that the tool called supported, {asked['sure'] or 0:.0f} % "
            f"were right. Of {none['questions']} questions that the document does not answer, "
            f"{100 - none['declined']:.0f} % were given an answer that looked like any other."
        )


def _table(runs: Mapping[str, Figures]) -> str:
    names = [name for name in RUNS if name in runs]
    rows = [[title, *(_cell(key, runs[name]["sets"].get(key)) for name in names)] for key, title in TITLES.items()]
    return markdown(["", *(RUNS[name] for name in names)], rows)


def _cell(key: str, figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return ""
    parts = ("declined",) if figures["exact"] is None else ("exact", "f1", "contained")
    return f"{' / '.join(f'{figures[part]:.0f}' for part in parts)} ({figures['questions']})"

"""Short texts whose later part needs the earlier one: what the comparison of schemes trains on and measures with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recipes.pocket.compose import Composer
from recipes.pocket.writing import QUESTION, RULE, SUMMARY

WINDOW = 32
LONGEST = 256
FACTS = (2, 4)
PROSE_CHARS = 600


def repetition(composer: Composer) -> dict[str, Any]:
    """Invented facts that are to be repeated, as a line for `beacon train`."""
    while not (blocks := [block for block in composer.generator.blocks(composer.rng.randint(*FACTS)) if block.inline]):
        pass
    text = " ".join(block.text for block in blocks)
    return {"messages": _turns([(text + RULE + SUMMARY, text)])}


def conversation(composer: Composer) -> dict[str, Any]:
    """Invented facts with questions about all of them behind."""
    blocks = composer.generator.blocks(composer.rng.randint(*FACTS))
    facts = [fact for block in blocks for fact in block.facts]
    composer.rng.shuffle(facts)
    asked = [QUESTION + fact.question for fact in facts]
    asked[0] = composer.hide(blocks, []) + RULE + asked[0]
    return {"messages": _turns(list(zip(asked, (fact.answer for fact in facts), strict=True)))}


def prose(composer: Composer) -> dict[str, Any]:
    """A piece of a book."""
    text = composer.rng.choice(composer.books)
    start = composer.rng.randrange(len(text) - PROSE_CHARS)
    return {"text": text[start : start + PROSE_CHARS]}


KINDS = {"repeated": repetition, "answers": conversation, "books": prose}


def _turns(asked: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": r, "content": c} for turn in asked for r, c in zip(("user", "assistant"), turn, strict=True)]


def write_texts(path: Path, composer: Composer, kinds: list[str]) -> None:
    """One line of each of `kinds`, the document longer than an interval and the whole no longer than `LONGEST`."""
    with path.open("w", encoding="utf-8") as file:
        for kind in kinds:
            while True:
                line = KINDS[kind](composer)
                texts = [line["text"]] if "text" in line else [message["content"] for message in line["messages"]]
                # Every message has two control tokens.
                lengths = [len(composer.encode(text)) + 2 for text in texts]
                if lengths[0] > WINDOW + 2 and sum(lengths) <= LONGEST:
                    break
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

"""What `--cache-bits` saves and what it costs: disk, loading, perplexity, answers.

    python -m benchmarks.cache_bits [MODEL [PAGES]]

The first row is a memory that is kept as it was computed, which none on disk is. Disk and loading are of
examples/world-factbook.pdf at ratio 16. Perplexity is that of the first 8,192 tokens of examples/the-time-machine.txt,
every interval read after the condensed memory of those before it. Answers are to questions about the five countries of
the factbook, without passages that are read again and with two: how many are right, and how many as in the first row.
"""

import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch

import beacon_cli as beacon
from beacon_cli.cache import growing
from beacon_cli.cache.growing import new_reader
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation.evaluating import embedded_text
from beacon_cli.evaluation.methods import running_losses
from beacon_cli.settings import DEFAULTS

BOOK, RATIO = "examples/world-factbook.pdf", 16
CAPITALS = {"Estonia": "Tallinn", "Iceland": "Reykjavik", "Ireland": "Dublin", "Jamaica": "Kingston", "Norway": "Oslo"}
PEAKS = {"Estonia": "Munamagi", "Iceland": "Hvannadalshnukur", "Ireland": "Carrauntoohil", "Jamaica": "Blue Mountain",
         "Norway": "Galdhopiggen"}  # fmt: skip
CODES = {"Estonia": ".ee", "Iceland": ".is", "Ireland": ".ie", "Jamaica": ".jm", "Norway": ".no"}
QUESTIONS = [
    *((f"What is the capital of {country}?", answer) for country, answer in CAPITALS.items()),
    *((f"What is the highest point in {country}?", answer) for country, answer in PEAKS.items()),
    *((f"What is the Internet country code of {country}?", answer) for country, answer in CODES.items()),
]


def answers(memory: beacon.Memory, passages: int) -> list[str]:
    """To all questions."""
    return [
        memory.ask(question, max_new_tokens=24, temperature=0.0, passages=passages).text for question, _ in QUESTIONS
    ]


def right(given: list[str]) -> int:
    return sum(wanted.lower() in answer.lower() for answer, (_, wanted) in zip(given, QUESTIONS, strict=True))


def perplexity(engine: Engine, bits: int | None) -> float:
    """Of the novel's text from its second interval on."""
    reader = engine.reader(RATIO) if bits is None else new_reader(engine, RATIO, bits)
    ids = engine.source.tokenizer.encode(embedded_text())[:8192]
    losses = torch.cat(list(running_losses(engine, lambda ids: (step.hidden for step in reader.feed(ids)), ids)))
    return float(losses[reader.window :].mean().exp())


def main() -> None:
    exact: dict[int, list[str]] = {}
    name = sys.argv[1] if len(sys.argv) > 1 else DEFAULTS.model
    pages = sys.argv[2] if len(sys.argv) > 2 else None
    print("| bits | disk | load | perplexity | right without passages | as computed | right with 2 | as computed |")
    print("|---|---|---|---|---|---|---|---|")
    for bits in (None, 16, 8, 4):
        with tempfile.TemporaryDirectory() as folder:
            model = beacon.load(name, cache_dir=folder, cache_bits=bits or 16)
            if bits is None:
                with mock.patch.object(growing, "new_reader", lambda engine, ratio, _: engine.reader(ratio)):
                    loaded, cells = [model.read(BOOK, ratio=RATIO, pages=pages, cache=False)], ["", ""]
            else:
                model.read(BOOK, ratio=RATIO, pages=pages)
                size = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
                loaded = [model.read(BOOK, ratio=RATIO, pages=pages) for _ in range(5)]
                seconds = sorted(memory.seconds["load_cache"] for memory in loaded)[2]
                cells = [f"{size / 1e6:.1f} MB", f"{seconds * 1000:.0f} ms"]
            cells.append(f"{perplexity(model.engine, bits):.3f}")
            for passages in (0, 2):
                given = answers(loaded[0], passages)
                same = sum(a == b for a, b in zip(given, exact.setdefault(passages, given), strict=True))
                cells += [f"{right(given)} of {len(given)}", f"{same}"]
            print(f"| {bits or 'as computed'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

"""What `--cache-bits` saves and what it costs: disk, loading, perplexity, answers of the built-in model.

    python benchmarks/cache_bits.py

Disk and loading are of examples/world-factbook.pdf at ratio 16. Perplexity is that of examples/the-time-machine.txt,
every interval read behind the condensed memory of those before it. Answers are to questions about the five countries of
the factbook, without passages that are read again and with two: how many are right, and how many those of 16 bits.
"""

import math
import os
import tempfile
import time
from functools import cache

import torch

from beacon_cli import workflows
from beacon_cli.cache import Store
from beacon_cli.cache.growing import new_reader, restored
from beacon_cli.checkpoints.engine import Engine, load_engine
from beacon_cli.checkpoints.model_source import locate_model
from beacon_cli.checkpoints.tokenizer.frame import chat_frame
from beacon_cli.condensing.text import document_stream
from beacon_cli.documents import open_document
from beacon_cli.events import Answered

BOOK, NOVEL, RATIO = "examples/world-factbook.pdf", "examples/the-time-machine.txt", 16
CAPITALS = {"Estonia": "Tallinn", "Iceland": "Reykjavik", "Ireland": "Dublin", "Jamaica": "Kingston", "Norway": "Oslo"}
PEAKS = {"Estonia": "Munamagi", "Iceland": "Hvannadalshnukur", "Ireland": "Carrauntoohil", "Jamaica": "Blue Mountain",
         "Norway": "Galdhopiggen"}  # fmt: skip
CODES = {"Estonia": ".ee", "Iceland": ".is", "Ireland": ".ie", "Jamaica": ".jm", "Norway": ".no"}
QUESTIONS = [
    *((f"What is the capital of {country}?", answer) for country, answer in CAPITALS.items()),
    *((f"What is the highest point in {country}?", answer) for country, answer in PEAKS.items()),
    *((f"What is the Internet country code of {country}?", answer) for country, answer in CODES.items()),
]


def options(bits: int, passages: int = 0) -> workflows.Options:
    return workflows.Options("beacon-pocket", ratio=RATIO, cache_bits=bits, passages=passages, max_new_tokens=24)


def answers(bits: int, passages: int) -> list[str]:
    """To all questions."""
    found = []
    for question, _ in QUESTIONS:
        events = workflows.ask([BOOK], question, options(bits, passages))
        found += [event.text for event in events if isinstance(event, Answered)]
    return found


def right(given: list[str]) -> int:
    return sum(wanted.lower() in answer.lower() for answer, (_, wanted) in zip(given, QUESTIONS, strict=True))


@torch.inference_mode()
def perplexity(engine: Engine, bits: int) -> float:
    """Of the novel's text from its second interval on."""
    source = engine.source
    with open_document(NOVEL) as document:
        stream = document_stream(source, chat_frame(source.tokenizer), document)
        for _ in stream.rest:
            pass
    reader = new_reader(engine, RATIO, bits)
    loss, count, last = 0.0, 0, None
    for step in reader.feed(stream.ids):
        first = step.plan.tokens
        ids = torch.tensor(stream.ids[reader.planner.consumed - first : reader.planner.consumed])
        hidden = step.hidden if last is None else torch.cat((last[None], step.hidden))
        logits = engine.attached.logits(hidden[:-1]).log_softmax(-1)
        targets = ids if last is not None else ids[1:]
        if last is not None:
            loss -= float(logits.gather(1, targets[:, None]).sum())
            count += len(targets)
        last = step.hidden[-1]
    return math.exp(loss / count)


def main() -> None:
    workflows.load_engine = cache(load_engine)  # type: ignore[assignment]  # replaced on purpose
    with tempfile.TemporaryDirectory() as name:
        os.environ["BEACON_CACHE_DIR"] = name
        store = Store.default()
        engine = workflows.load_engine(locate_model("beacon-pocket", None, store.path), "auto")
        exact: dict[int, list[str]] = {}
        print("| bits | disk | load | perplexity | right without passages | as in 16 bits | right with 2 | as in 16 |")
        print("|---|---|---|---|---|---|---|---|")
        for bits in (16, 8, 4):
            for _ in workflows.build_cache([BOOK], options(bits)):
                pass
            (summary,) = (s for s in store.entries() if s.manifest and s.manifest.subject.identity.bits == bits)
            size = sum(shard.size for shard in summary.manifest.shards) if summary.manifest else 0
            times = []
            for _ in range(5):
                began = time.perf_counter()
                restored(engine, RATIO, summary.entry.open(engine.device))
                times.append(time.perf_counter() - began)
            cells = [f"{size / 1e6:.1f} MB", f"{sorted(times)[2] * 1000:.0f} ms", f"{perplexity(engine, bits):.3f}"]
            for passages in (0, 2):
                given = answers(bits, passages)
                same = sum(a == b for a, b in zip(given, exact.setdefault(passages, given), strict=True))
                cells += [f"{right(given)} of {len(given)}", f"{same}"]
            print(f"| {bits} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

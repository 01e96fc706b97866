"""What products in few bits cost in answers: the default model in float32 against what it computes in on this CPU.

    python -m benchmarks.arithmetic DATA [--questions 40] [--tokens 4096]

Each is asked SQuAD's questions, each on its paragraph, as `beacon ask` asks. `same` are answers that are word for word
those of float32; `exact` and `f1` compare with the right ones. `reading` and `decoding` are perplexities of a book, in
intervals of 1,024 tokens that each begin anew: of products as many rows have them, and as few rows have them.
"""

import argparse
import lzma
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch

import beacon_cli as beacon
from activation_beacon.decoder import LanguageModel
from beacon_cli.checkpoints import engine
from beacon_cli.checkpoints.arithmetic import Arithmetic, fast_arithmetic
from beacon_cli.evaluation.metrics import exact_match, f1
from benchmarks.processor import processor
from benchmarks.reading_sets import load

WINDOW = 1024
# Characters of a book before its text has begun.
SKIP = 5_000


@torch.inference_mode()
def perplexity(model: beacon.Model, few: int, ids: list[int]) -> float:
    """Of a text, with packed products for passes of at most `few` rows."""
    attached, bare, total = model.engine.attached, model.engine.model, 0.0
    assert isinstance(bare, LanguageModel)
    for each in (*bare.model.layers, bare.lm_head):
        each.few = few
    for start in range(0, len(ids), WINDOW):
        part = torch.tensor(ids[start : start + WINDOW])
        attached.rotary.prepare(WINDOW)
        logits = attached.logits(attached.run(part[None], torch.arange(len(part))))[0]
        total += float(torch.nn.functional.cross_entropy(logits[:-1], part[1:], reduction="sum"))
    return math.exp(total / (len(ids) - math.ceil(len(ids) / WINDOW)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the data folder")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=4096)
    options = parser.parse_args()
    ships, exactly = fast_arithmetic(), list[str]()
    print(f"{processor()}\n")
    print("| products of many, of few rows | same | exact | f1 | reading | decoding |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        asked = list(load(options.data, Path(folder), ["single"], options.questions))
        book = min((options.data / "books").glob("*.txt.xz"))
        text = lzma.decompress(book.read_bytes()).decode()[SKIP:]
        for arithmetic in (Arithmetic("float32", "float32"), replace(ships, decoding="int8"), ships):
            with mock.patch.object(engine, "fast_arithmetic", return_value=arithmetic):
                model = beacon.load(cache_dir=folder)
                assert isinstance(model.engine, engine.Engine)
            ids = model.source.tokenizer.encode(text[: 8 * options.tokens])[: options.tokens]
            answers = [model.read_text(str(each.document), cache=False).ask(each.question).text for each in asked]
            exactly = exactly or answers
            count = len(asked)
            same = sum(one == other for one, other in zip(answers, exactly, strict=True))
            exact = sum(exact_match(said, each.answers) for said, each in zip(answers, asked, strict=True))
            score = sum(f1(said, each.answers) for said, each in zip(answers, asked, strict=True)) / count
            few = [perplexity(model, most, ids) for most in (0, len(ids))]
            print(
                f"| {arithmetic.reading}, {arithmetic.decoding} | {same} of {count} | {exact:.0f} | {100 * score:.1f} "
                f"| {few[0]:.3f} | {few[1]:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

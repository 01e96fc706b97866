"""What selection keeps of full attention's answers: SQuAD's questions on their paragraph among five others.

    BEACON_DATA=DATA python -m benchmarks.selection [--questions 100] [--windows 256 512] [--ratios 2 4 8] [--plain]

Documents have 850 to 1,050 tokens, of five articles that nothing was trained on; the model is SmolLM2-135M-Instruct
with the reader of models/beacon_smollm2 in its weights (`--plain`: as it comes), in bfloat16 (`--float32`: not), set up
as recipes/smollm2 says. Every question is asked of the condensed memory alone: the document's last interval is ended,
and condensed, too; nothing is read again. Printed, for every window and ratio:

- right: of the questions that full attention answers rightly (a right answer stands in what is said), how many are
  still answered rightly, decoded greedily;
- likelihood: of these questions, the share that is kept of what the document adds to the log-likelihood of the
  shortest right answer: (condensed - no document) / (full - no document);
- rows: of memory, a head on average, as a share of the document's tokens;
- reading: seconds a document.
"""

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from activation_beacon import Attached, SelectingReader, Selection, attach
from beacon_cli.checkpoints.selecting import INSTRUCTION
from beacon_cli.evaluation.metrics import found
from recipes.smollm2 import evaluation
from recipes.smollm2.base import gguf_file, keep_memory, load_base
from recipes.smollm2.conversations import Ask
from recipes.smollm2.evaluation import Case
from recipes.smollm2.rows import Layout
from recipes.smollm2.sources import load

SHORTEST, LONGEST = 850, 1050
ADAPTER = Path(__file__).parents[1] / "models" / "beacon_smollm2"


@dataclass(frozen=True)
class Asked:
    """One question, asked of one memory: its answer, the log-likelihood of the right one, rows, seconds of reading."""

    right: bool
    likelihood: float
    rows: float
    seconds: float


def is_right(given: str, case: Case) -> bool:
    return bool(found(given, case.question.answers))


@torch.inference_mode()
def ask(read: SelectingReader, layout: Layout, case: Case, document: Sequence[int], most: int = 24) -> Asked:
    """Read a document (none, if it is empty), end it, and ask."""
    began = time.perf_counter()
    for _ in read.feed([*layout.opening, *document]):
        pass
    read.end_interval()
    seconds = time.perf_counter() - began
    rows = (read.memory.size - len(layout.opening)) / max(1, len(document))
    read.condense_at(0)
    logits = read.read([*layout.ids(Ask(case.question).text()), *layout.closing])
    mark = read.mark()
    target = layout.ids(case.question.target)
    likelihood = float(logits.log_softmax(-1)[target[0]])
    for token, following in itertools.pairwise(target):
        likelihood += float(read.read([token]).log_softmax(-1)[following])
    read.rewind(mark)
    given: list[int] = []
    while len(given) < most and (token := int(logits.argmax())) != layout.end:
        given.append(token)
        logits = read.read([token])
    return Asked(is_right(layout.decode(given), case), likelihood, rows, seconds)


def compare(attached: Attached, layout: Layout, cases: Sequence[Case], windows: list[int], ratios: list[int]) -> None:
    """Ask everything of everything, and print the table."""
    instruction = (*layout.ids(INSTRUCTION), *layout.closing)

    def run(window: int, ratio: int, chosen: Sequence[Case], read: bool = True) -> list[Asked]:
        selection = Selection(window, len(layout.opening), instruction)
        return [
            ask(attached.selecting_reader(ratio, selection), layout, case, layout.ids(case.document) if read else ())
            for case in chosen
        ]

    full = run(512, 1, cases)
    known = [case for case, each in zip(cases, full, strict=True) if each.right]
    full = [each for each in full if each.right]
    base = sum(each.likelihood for each in run(512, 1, known, read=False))
    added = sum(each.likelihood for each in full) - base
    print(f"{len(cases)} questions; full attention answers {len(known)} rightly, and reads a document in "
          f"{sum(each.seconds for each in full) / len(full):.2f} s\n")  # fmt: skip
    print("| window | ratio | right | likelihood | rows | reading |\n|---|---|---|---|---|---|", flush=True)
    for window, ratio in itertools.product(windows, ratios):
        asked = run(window, ratio, known)
        right = sum(each.right for each in asked)
        share = (sum(each.likelihood for each in asked) - base) / added
        rows, seconds = (sum(getattr(each, name) for each in asked) / len(asked) for name in ("rows", "seconds"))
        print(
            f"| {window} | {ratio} | {right} of {len(known)} ({100 * right / len(known):.0f} %) | {share:.2f} "
            f"| 1/{1 / rows:.1f} | {seconds:.2f} s |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="What selection keeps of full attention's answers.")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--windows", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--ratios", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    model, tokenizer = load_base(gguf_file(), None if options.plain else ADAPTER)
    layout = Layout(tokenizer)
    if options.float32:
        model = model.float()
    passages = load(Path(os.environ["BEACON_DATA"]), "test")
    drawn = evaluation.sets(passages, 10 * options.questions)["among_5"]
    fitting = [case for case in drawn if SHORTEST <= len(layout.ids(case.document)) <= LONGEST]
    with attach(model.requires_grad_(False).eval(), None) as attached:
        compare(attached, layout, fitting[: options.questions], options.windows, options.ratios)


if __name__ == "__main__":
    main()

"""In which words a language model that has no adapter of ours is best asked, on articles that nothing else is told of.

    python -m benchmarks.wording DATA FILE.gguf [--questions 40]

SQuAD's questions on their paragraph and among two others, and such as their paragraph does not answer, of the articles
that `recipes/smollm2` sets aside to choose by; the model answers by itself in bfloat16, in at most 48 tokens.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from beacon_cli.answering.prompts import REFUSAL, RULE
from beacon_cli.answering.support import is_refusal
from beacon_cli.evaluation.metrics import exact_match, f1, found
from beacon_cli.evaluation.report import markdown
from recipes.smollm2 import base, evaluation, sources
from recipes.smollm2.rows import Layout

# By name, what stands after the document and a rule.
WORDINGS = {
    "question": "Question: {question}",
    "short": "Answer in a few words from the text.\n\nQuestion: {question}",
    "short after": "Question: {question}\n\nAnswer in a few words from the text.",
    "refuse": "Answer in a few words from the text. If it does not answer the question, answer: "
    + REFUSAL
    + "\n\nQuestion: {question}",
    "refuse after": "Question: {question}\n\nAnswer in a few words from the text. If it does not answer the question, "
    "answer: " + REFUSAL,
    "only": "Question: {question}\n\nGive only the answer, copied from the text, without a sentence around it; if the "
    "text does not say, write: " + REFUSAL,
}


class Worded(Layout):
    """A layout that puts a question in words of its own."""

    wording = WORDINGS["question"]

    def prompt(self, document: str, request: str) -> list[int]:
        question = request.removeprefix(RULE).removeprefix("Question: ")
        return super().prompt(document, RULE + self.wording.replace("{question}", question))


def scores(cases: Sequence[evaluation.Case], answers: Sequence[str]) -> list[str]:
    """Exact match, F1, and how many contain a right answer or are refused, in per cent."""
    right = [case.question.answers for case in cases]
    pairs = list(zip(answers, right, strict=True))
    refused = sum(map(is_refusal, answers))
    if not right[0]:
        return [f"{100 * refused / len(pairs):.0f}"]
    counts = [sum(metric(*pair) for pair in pairs) for metric in (exact_match, f1, found)]
    return [f"{100 * count / len(pairs):.0f}" for count in (*counts, refused)]


def main() -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the data folder")
    parser.add_argument("gguf", type=Path, help="a language model")
    parser.add_argument("--questions", type=int, default=40, help="of each set")
    parser.add_argument("--wordings", nargs="+", choices=WORDINGS, default=list(WORDINGS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer = base.load_base(options.gguf)
    layout = Worded(tokenizer)
    sets = evaluation.sets({"squad": sources.load(options.data, "dev")["squad"]}, options.questions)
    rows = []
    for name in options.wordings:
        layout.wording = WORDINGS[name]
        row = [name]
        for kind in ("single", "among_2", "unanswerable"):
            row += scores(sets[kind], evaluation.answers(model, layout, sets[kind], most=48))
        rows.append(row)
        print(" | ".join(row), flush=True)
    columns = ("exact", "F1", "contained", "refused")
    print(markdown(["wording", *columns, *(f"among 2: {each}" for each in columns), "unanswerable: refused"], rows))


if __name__ == "__main__":
    main()

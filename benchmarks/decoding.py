"""Reading a prompt and decoding after it, against llama.cpp with the same GGUF file.

    python -m benchmarks.decoding PYTHON [--tokens 512 2048] [--rounds 5] [--threads 1] [--answers DATA]

PYTHON runs in an environment with llama-cpp-python, built for this machine. A process each, which take turns; with one
thread, processor time, so that other work beside them counts for less; with several, wall time, which wants a quiet
machine. This tool reads with its default condensing, at ratio 2, below which it begins. Medians. With `--answers`, the
tokens of what the default model answers about held-out texts (each said by both), with prompt lookup and without.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import beacon_cli as beacon
from beacon_cli.answering.decoding import generate
from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.answering.prompts import question_text
from beacon_cli.answering.support import is_refusal
from beacon_cli.checkpoints.default_model import base_file
from benchmarks.processor import ask, processor
from recipes.smollm2 import evaluation, sources

WAYS = {"ours": "this tool", "llama": "llama.cpp"}
ABOUT = {"single": "SQuAD's paragraphs", "factbook": "countries", "fairytaleqa": "tales"}
QUESTIONS, DECODED, LONGEST = 40, 24, 48
WORKER = Path(__file__).with_name("decoding_worker.py")
NOVEL = Path(__file__).parents[1] / "examples" / "the-time-machine.txt"


@dataclass(frozen=True)
class Said:
    """A prompt, what is said after it, and what that may be taken from."""

    prompt: list[int]
    said: list[int]
    texts: list[str]

    def line(self, looked_up: bool) -> str:
        """What a worker is told."""
        return json.dumps({**vars(self), "texts": self.texts if looked_up else []}) + "\n"


def answered(model: beacon.Model, text: str, question: str) -> Said | None:
    """What the model says to a question about a text, token after token; None if it refuses."""
    engine, encode, frame = model.engine, model.source.tokenizer.encode, model.source.frame
    prompt = [*frame.opening, *encode(text), *encode(question_text(question)), *frame.closing]
    reader = engine.reader(2)
    asked = PromptLookup(engine, reader, reader.read(prompt))
    said = generate(engine, asked, max_new_tokens=LONGEST, temperature=0)
    ids = [token for token in said if isinstance(token, int)]
    return None if is_refusal(model.source.tokenizer.decode(ids)) else Said(prompt, ids, [text])


def start(way: str, options: argparse.Namespace) -> "subprocess.Popen[str]":
    """A worker."""
    python = str(options.python) if way == "llama" else sys.executable
    command = [python, str(WORKER), way, str(options.threads), str(base_file())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--answers", type=Path)
    options = parser.parse_args()
    model = beacon.load()
    ids = model.source.tokenizer.encode(NOVEL.read_text(encoding="utf-8"))
    workers = {way: start(way, options) for way in WAYS}
    print(f"{processor()}; --threads {options.threads}\n")
    print("| tokens | | reading, tokens/s | decoding, ms a token |\n|---|---|---|---|")
    for tokens in options.tokens:
        line = Said(ids[:tokens], ids[:DECODED], []).line(True)
        rounds = [[json.loads(ask(worker, line)) for worker in workers.values()] for _ in range(options.rounds)]
        for number, name in enumerate(WAYS.values()):
            reading = statistics.median(each[number][0] for each in rounds)
            decoding = statistics.median(statistics.median(each[number][1]) for each in rounds)
            print(f"| {tokens:,} | {name} | {tokens / reading:,.0f} | {1000 * decoding:.1f} |", flush=True)
    if options.answers:
        _answers(model, options.answers, workers)
    for worker in workers.values():
        worker.communicate()


def _answers(model: beacon.Model, data: Path, workers: "dict[str, subprocess.Popen[str]]") -> None:
    """Print the table of answers."""
    print("\n| answers about | tokens | this tool, ms a token | without lookup | llama.cpp |\n|---|---|---|---|---|")
    for name, cases in evaluation.sets(sources.load(data, "test"), QUESTIONS).items():
        if name not in ABOUT:
            continue
        said = [each for case in cases if (each := answered(model, case.document, case.question.text)) is not None]
        seconds = [
            sum(sum(json.loads(ask(workers[way], each.line(looked_up)))[1]) for each in said)
            for way, looked_up in (("ours", True), ("ours", False), ("llama", False))
        ]
        tokens = sum(len(each.said) for each in said)
        taken = " | ".join(f"{1000 * each / tokens:.1f}" for each in seconds)
        print(f"| {ABOUT[name]} | {tokens} | {taken} |", flush=True)


if __name__ == "__main__":
    main()

"""The first question about a document against the second: what the cache saves.

    python benchmarks/questions.py [DOC]

Counts the tool's own part of the time to the first token: opening the document, condensing it or loading its memory,
finding passages and reading the question; not Python's imports and not the model's weights. One process a question.
"""

import json
import os
import subprocess
import sys
import tempfile

QUESTION = "What is the capital of Iceland?"
OWN = ("find_model", "open", "condense", "load_cache", "first_token")


def ask(document: str, cache: str) -> dict[str, float]:
    """Seconds by stage of one `beacon ask`."""
    command = [sys.executable, "-m", "beacon_cli", "ask", document, QUESTION, "--json", "--quiet"]
    done = subprocess.run(command, env={**os.environ, "BEACON_CACHE_DIR": cache}, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    condensed, rows = answer["tokens_condensed"], answer["tokens_condensed_to"]
    print(f"{condensed:>9,} of {answer['tokens_read']:,} tokens condensed now, {rows:,} in memory: {answer['answer']}")
    seconds: dict[str, float] = answer["seconds"]
    return seconds


def main() -> None:
    document = sys.argv[1] if len(sys.argv) > 1 else "examples/world-factbook.pdf"
    with tempfile.TemporaryDirectory() as cache:
        runs = [ask(document, cache) for _ in range(4)]
    print("| question | " + " | ".join(OWN) + " | own part |")
    print("|---|" + "---|" * (len(OWN) + 1))
    own = [sum(run.get(stage, 0.0) for stage in OWN) for run in runs]
    for number, (run, total) in enumerate(zip(runs, own, strict=True), 1):
        print(f"| {number} | " + " | ".join(f"{run.get(stage, 0.0):.2f}" for stage in OWN) + f" | {total:.2f} s |")
    print(f"second question: {own[0] / sorted(own[1:])[1]:.0f} times faster (median of three)")


if __name__ == "__main__":
    main()

"""Questions for `kvpress_comparison.py`: about SQuAD paragraphs that the default model was not trained on.

    python -m benchmarks.kvpress_questions DATA QUESTIONS.jsonl [--documents 6]

A document is one interval of paragraphs and a few tokens more, the last paragraph cut off there; three questions about
each whole one. Always the same ones.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import beacon_cli as beacon
from recipes.smollm2.sources import Question, load

MORE, ASKED = 8, 3


def documents(model: beacon.Model, data: Path) -> Iterator[tuple[str, list[Question]]]:
    """Texts, and what is asked about them."""
    encode, most = model.source.tokenizer.encode, model.source.window + MORE
    chance, text, asked = random.Random(7), "", list[Question]()
    passages = load(data, "test")["squad"]
    chance.shuffle(passages)
    for passage in passages:
        longer = f"{text}\n\n{passage.text}" if text else passage.text
        if len(encode(longer)) < most - 2:
            answered = [question for question in passage.questions if question.answers]
            text, asked = longer, [*asked, *chance.sample(answered, min(ASKED, len(answered)))]
            continue
        words = passage.text.split(" ")
        text += "\n\n"
        while len(encode(text + words[0])) <= most:
            text += f"{words.pop(0)} "
        yield text.strip(), asked
        text, asked = "", []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--documents", type=int, default=6)
    options = parser.parse_args()
    made = zip(range(options.documents), documents(beacon.load(), options.data), strict=False)
    with options.questions.open("w", encoding="utf-8") as file:
        for _, (text, asked) in made:
            for question in asked:
                row = {"document": text, "question": question.text, "answers": question.answers}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

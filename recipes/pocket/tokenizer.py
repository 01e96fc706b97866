"""Train the tokenizer: byte-level BPE, 4,096 entries, single digits, capitalised words without their space.

    python -m recipes.pocket.tokenizer --data DATA --out runs/pocket/tokenizer

A capitalised word and a digit never swallow the space before them, so that a name or a number is the same tokens in the
middle of a sentence, at the start of a record line and at the start of an answer: the model can copy it as it stands.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from recipes.pocket import corpora
from recipes.pocket.generate import Generator
from recipes.pocket.writing import PASSAGES, QUESTION, RULE, SUMMARY

SPLIT = (
    r"\p{N}|\p{Lu}[\p{L}\p{M}]*| ?[\p{Ll}\p{Lt}\p{Lm}\p{Lo}\p{M}][\p{L}\p{M}]*"
    r"| ?[^\s\p{L}\p{M}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY = 4096


def sample(root: Path, facts: int, seed: int = 0) -> Iterator[str]:
    """About 25 M characters of everything that the model will read; `facts` are generated, eight at a time."""
    rng = random.Random(seed)
    for text in corpora.books(root):
        start = rng.randrange(max(1, len(text) - 40_000))
        yield text[start : start + 40_000]
    for country in corpora.countries(root):
        yield country.text[:15_000]
    for section in corpora.textbook(root)[::2]:
        yield section[:6_000]
    for reading in corpora.paragraphs(root):
        yield reading.text
        yield "\n".join(question for question, _ in reading.questions)
    generator = Generator(seed, vocabulary=corpora.names(root))
    for _ in range(facts // 8):
        made = generator.facts(8)
        yield "\n".join(f"{fact.statement}{RULE}{QUESTION}{fact.question}\n{fact.answer}" for fact in made)
        yield PASSAGES + RULE + SUMMARY


def train(root: Path, facts: int) -> PreTrainedTokenizerFast:
    """The trained tokenizer, with its chat template; no token is added at the beginning of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(root, facts), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/tokenizer"))
    parser.add_argument("--facts", type=int, default=96_000, help="generated ones to learn from")
    options = parser.parse_args()
    train(options.data, options.facts).save_pretrained(options.out)


if __name__ == "__main__":
    main()

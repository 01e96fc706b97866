"""A base model for which a beacon is trained in a second, and data for it."""

import json
import random
from pathlib import Path
from typing import Any

from tests.activation_beacon.tiny import tiny_model
from tests.scripted import END, make_tokenizer

WORDS = ["keeper", "road", "mill", "cart", "rain", "ditch", "lamp", "sea", "harbour", "captain", "letter", "stone"]
SCHEME = ("--window", "32", "--ratios", "2,4,8", "--max-tokens", "160", "--no-checkpoint-layers", "--lr", "1e-2")


def make_base(folder: Path) -> Path:
    """2 layers, 64 wide, random."""
    folder.mkdir(exist_ok=True)
    tokenizer = make_tokenizer(folder, prose(3000))
    size, end = tokenizer.get_vocab_size(), tokenizer.token_to_id(END)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "head_dim": 32}
    shape |= {"max_position_embeddings": 1024, "initializer_range": 0.02, "tie_word_embeddings": True}
    tiny_model(vocab_size=size, bos_token_id=None, eos_token_id=end, **shape).save_pretrained(folder)
    return folder


def prose(words: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def write_lines(path: Path, *values: Any) -> Path:
    path.write_text("".join((v if isinstance(v, str) else json.dumps(v)) + "\n" for v in values), encoding="utf-8")
    return path


def question(seed: int, words: int = 60) -> dict[str, str]:
    return {"document": prose(words, seed), "question": "Who keeps the lamp?", "answer": prose(2, seed)}


def make_data(folder: Path) -> Path:
    """A text and questions: five samples of at most 160 tokens."""
    folder.mkdir()
    (folder / "tale.txt").write_text(prose(200), encoding="utf-8")
    write_lines(folder / "questions.jsonl", *(question(seed) for seed in range(3)))
    return folder


def curve(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every record."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(record["step"], record["loss"]) for record in records if "loss" in record]

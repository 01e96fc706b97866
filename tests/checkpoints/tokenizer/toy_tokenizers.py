"""Small tokenizers of every kind that checkpoints have, trained on a page in many scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SENTENCES = (
    "The lighthouse keeper hadn't slept; he'd counted 1,234 waves, they'll say, and it wasn't enough.\n\n",
    "It's 07:45 on 3 March 1921 -- the 14th crossing. “We're late,” she said, “aren't we?”\r\n  Indented   line\t.\n",
    "Ο φύλακας του φάρου μέτρησε χίλια κύματα και ύστερα κοιμήθηκε. ",
    "Смотритель маяка не спал всю ночь и считал волны, их было 1234. ",
    "حارس المنارة لم ينم طوال الليل، وعدّ ١٢٣٤ موجة. ",
    "שׁוֹמֵר המגדלור לא ישן כל הלילה וספר גלים. ",
    "प्रकाशस्तंभ का रखवाला रात भर जागता रहा और उसने १२३४ लहरें गिनीं। ",
    "คนเฝ้าประภาคารไม่ได้นอนทั้งคืนและนับคลื่น ",
    "灯塔看守人整夜没有睡觉，他数了一千二百三十四个波浪。",
    "灯台守は一晩中眠らずに波をかぞえました。ラジオだけが鳴っていた。",
    "등대지기는 밤새 잠들지 못하고 파도를 세었다. ",
    "def count(waves):\n    return {w: len(w) for w in waves if w != 'x'}  # naïve café, e\u0301te\u0301 🙂👍🏽 €5\n",
    "    \n\t\n" + " " * 20 + "a" * 30 + "-" * 20 + "\n" * 8,
)
TEXT = "".join(SENTENCES)

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
WORDS = r"\p{N}|\p{Lu}[\p{L}\p{M}]*| ?[\p{L}\p{M}]+| ?[^\s\p{L}\p{M}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
CONTROL = ("<|end|>", "<|user|>", "<|assistant|>")
ORDINARY = "<think>"


def byte_bpe(*stages: Any, nfc: bool = False, vocabulary: int = 700) -> Tokenizer:
    """A small byte-level BPE as checkpoints have it; its control tokens get the largest ids.

    It learns merges across blanks, words and digits, so that a boundary in another place always shows in the ids.
    """
    hub = Tokenizer(models.BPE())
    hub.pre_tokenizer = pre_tokenizers.Sequence([isolated(r"[\s\S]{1,9}"), BYTES])
    hub.decoder = decoders.ByteLevel()
    if nfc:
        hub.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    hub.train_from_iterator([sentence[start:] for sentence in SENTENCES for start in range(9)], trainer)
    hub.pre_tokenizer = stages[0] if len(stages) == 1 else pre_tokenizers.Sequence(list(stages))
    return with_control(hub)


def with_control(hub: Tokenizer) -> Tokenizer:
    hub.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    hub.add_tokens([AddedToken(ORDINARY, special=False, normalized=False)])
    return hub


def isolated(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def of_ranks() -> Tokenizer:
    """As Llama 3's was made of a list of ranks: a token has a merge for each way to split it into tokens."""
    parsed = json.loads(byte_bpe(isolated(LLAMA3), BYTES).to_str())
    vocabulary = parsed["model"]["vocab"]
    splits = [(token[:i], token[i:]) for token in vocabulary for i in range(1, len(token))]
    parsed["model"]["merges"] = [split for split in splits if vocabulary.keys() >= set(split)]
    parsed["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(parsed))


def numbered_anew() -> Tokenizer:
    """Ids in no order of merges, merges as one string each: as old files have them."""
    parsed = json.loads(byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False)).to_str())
    model = parsed["model"]
    size = len(model["vocab"])
    model["vocab"] = {token: (i * 13 + 5) % size for token, i in model["vocab"].items()}
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    assert size % 13
    return Tokenizer.from_str(json.dumps(parsed))


STYLES: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "qwen2": lambda: byte_bpe(isolated(QWEN2), BYTES, nfc=True),
    "llama3": of_ranks,
    "gpt4": lambda: byte_bpe(pre_tokenizers.Split(Regex(LLAMA3), behavior="removed", invert=True), BYTES),
    "digits": lambda: byte_bpe(
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    ),
    "digit runs": lambda: byte_bpe(
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)
    ),
    "words": lambda: byte_bpe(isolated(WORDS), BYTES),
    "numbered anew": numbered_anew,
}


def unigram() -> Tokenizer:
    hub = Tokenizer(models.Unigram())
    hub.pre_tokenizer = pre_tokenizers.Metaspace()
    hub.decoder = decoders.Metaspace()
    hub.train_from_iterator(
        SENTENCES * 3,
        trainers.UnigramTrainer(
            vocab_size=400, special_tokens=["<unk>", *CONTROL], unk_token="<unk>", show_progress=False
        ),
    )
    return hub


def sentencepiece_bpe() -> Tokenizer:
    """In the way of Llama 2: blanks are written `▁`, what has no token is spelled in bytes."""
    vocabulary = {"<unk>": 0, **{token: 1 + i for i, token in enumerate(CONTROL)}}
    for token in (*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdehilnorstw", "th", "▁th", "▁the"):
        vocabulary[token] = len(vocabulary)
    hub = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[("t", "h"), ("▁", "th"), ("▁th", "e")],
            byte_fallback=True,
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    hub.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    hub.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    hub.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<unk>", *CONTROL)])
    return hub


def with_merges_to_control(hub: Tokenizer, *tokens: str) -> Tokenizer:
    """Special tokens that a file's merges make too, as files have them that list every way to put an entry together."""
    parsed = json.loads(hub.to_str())
    vocabulary, merges = parsed["model"]["vocab"], parsed["model"]["merges"]
    for token in tokens:
        for character in token:
            vocabulary.setdefault(character, len(vocabulary))
        for end in range(2, len(token) + 1):
            vocabulary.setdefault(token[:end], len(vocabulary))
            merges.append([token[: end - 1], token[end - 1]])
    parsed["added_tokens"] = [token for token in parsed["added_tokens"] if token["content"] == "<unk>"]
    hub = Tokenizer.from_str(json.dumps(parsed))
    hub.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (*tokens, *CONTROL)])
    return hub


def with_unmerged_word(ignore_merges: bool) -> Tokenizer:
    """A vocabulary that holds a word which no merge leads to; with `ignore_merges` it is found all the same."""
    parsed = json.loads(STYLES["gpt2"]().to_str())
    parsed["model"]["ignore_merges"] = ignore_merges
    parsed["model"]["vocab"]["Ġzzyzx"] = 5000
    return Tokenizer.from_str(json.dumps(parsed))


def with_merge_out_of_reach() -> Tokenizer:
    """`zqx` is to be made of `zq` and `x`, but `q` goes to `x` before; tiktoken takes a word that it knows whole."""
    parsed = json.loads(STYLES["gpt2"]().to_str())
    for left, right in (("q", "x"), ("z", "q"), ("zq", "x")):
        parsed["model"]["merges"].append([left, right])
        parsed["model"]["vocab"][left + right] = len(parsed["model"]["vocab"])
    return with_control(Tokenizer.from_str(json.dumps({**parsed, "added_tokens": []})))


def with_runs_of_blanks() -> Tokenizer:
    hub = STYLES["gpt2"]()
    hub.add_tokens([AddedToken(" " * n, special=False, normalized=False) for n in (12, 16)])
    return hub


OTHERS: dict[str, Callable[[], Tokenizer]] = {
    "unigram": unigram,
    "byte fallback": sentencepiece_bpe,
    "prefix space": lambda: byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "two splits": lambda: byte_bpe(isolated(r"\p{N}{1,3}"), isolated(WORDS), BYTES),
    "lower case": lambda: _lower_case(STYLES["gpt2"]()),
    "word characters": lambda: byte_bpe(isolated(r"\w+|\W"), BYTES, vocabulary=260),
    "empty matches": lambda: byte_bpe(isolated(WORDS + r"|x*"), BYTES),
    "only Oniguruma": lambda: byte_bpe(isolated(r"\p{InBasicLatin}x|" + WORDS), BYTES),
    "runs of blanks": with_runs_of_blanks,
    "merge out of reach": with_merge_out_of_reach,
    "unmerged word": lambda: with_unmerged_word(ignore_merges=True),
}


def _lower_case(hub: Tokenizer) -> Tokenizer:
    hub.normalizer = normalizers.Lowercase()
    return hub


def save(folder: Path, hub: Tokenizer, **tokenizer_config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(hub.to_str(), "utf-8")
    config = {"chat_template": TEMPLATE, "eos_token": "<|end|>", **tokenizer_config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return folder

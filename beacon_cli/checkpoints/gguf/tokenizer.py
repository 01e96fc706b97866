"""The tokenizer and chat template of a GGUF file, as the files that a checkpoint has beside its weights."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from beacon_cli.checkpoints.gguf.file import GgufFile
from beacon_cli.checkpoints.tokenizer.byte_bpe import GPT2_PATTERN
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.errors import ModelError

# What kinds of token `tokenizer.ggml.token_type` tells apart, of those that matter here.
_CONTROL, _USER_DEFINED = 3, 4
_BLANK = "▁"
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
# How a byte-level vocabulary's text is split before merging, by what `tokenizer.ggml.pre` calls it.
_SPLITS = {
    "gpt-2": GPT2_PATTERN,
    "smollm": None,  # digits one by one, then as GPT-2
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
}
_ROLES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
_ENDINGS = ("eos", "eot", "eom")
# Control tokens that end a turn in the chat templates there are; a file's own ending may be that of whole texts.
_TURN_ENDS = {"<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "</s>"}


def write_tokenizer(file: GgufFile, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json`, `generation_config.json` and the chat template.

    Raises:
        ModelError: if the file has no tokenizer, or one of a kind that is not known here.
        OSError: if they cannot be written.
    """
    kind = file.value("tokenizer.ggml.model", str, "none")
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if kind in ("none", "no_vocab") or not isinstance(tokens, list) or not tokens:
        raise ModelError(f"{file.path} holds no tokenizer: use a file with one")
    if len(set(tokens)) < len(tokens):
        raise _refusal(file, "it has a token twice")
    if kind == "gpt2":
        tokenizer = _byte_level(file, tokens)
    elif kind == "llama":
        tokenizer = _sentencepiece(file, tokens)
    else:
        raise _refusal(file, f"it is of kind {kind!r:.40}; gpt2 and llama are read")
    roles = {role: _token(file, tokens, name) for name, role in _ROLES.items()}
    special = {role: token for role, token in roles.items() if token is not None}
    if _adds_beginning(file, kind) and "bos_token" in special:
        tokenizer["post_processor"] = _beginning(special["bos_token"], tokens.index(special["bos_token"]))
    stated = {tokens.index(token) for name in _ENDINGS if (token := _token(file, tokens, name)) is not None}
    ends = stated | {token["id"] for token in tokenizer["added_tokens"] if token["content"] in _TURN_ENDS}
    _write(folder / "tokenizer.json", tokenizer)
    _write(folder / "tokenizer_config.json", special)
    _write(folder / "generation_config.json", {"eos_token_id": sorted(ends)})
    if "tokenizer.chat_template" in file.metadata:
        template = file.value("tokenizer.chat_template", str)
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8", newline="")
    try:
        Tokenizer.from_folder(folder)
    except ModelError as error:
        raise _refusal(file, str(error.__cause__ or error)) from error


def _byte_level(file: GgufFile, tokens: list[str]) -> dict[str, Any]:
    split = file.value("tokenizer.ggml.pre", str, "")
    if split not in _SPLITS:
        known = ", ".join(_SPLITS)
        raise _refusal(file, f"it splits text in the way {split!r:.40}; known: {known}")
    merges = file.metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list):
        raise _refusal(file, "it has no merges")
    pattern = _SPLITS[split]
    first: dict[str, Any] = {"type": "Digits", "individual_digits": True}
    if pattern is not None:
        first = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return _tokenizer(
        file,
        tokens,
        merges,
        normalizer={"type": "NFC"} if split == "qwen2" else None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": [first, _byte_stage(use_regex=pattern is None)]},
        decoder=_byte_stage(use_regex=True),
        ignore_merges=pattern == _LLAMA3,
    )


def _byte_stage(*, use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": use_regex}


def _sentencepiece(file: GgufFile, tokens: list[str]) -> dict[str, Any]:
    """As Llama 2's: blanks are written `▁`, and what has no token is spelled in bytes."""
    scores = file.metadata.get("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(tokens):
        raise _refusal(file, "it has no score for each token")
    prefix = file.value("tokenizer.ggml.add_space_prefix", bool, True)
    blank = {"type": "Replace", "pattern": {"String": " "}, "content": _BLANK}
    text = {"type": "Replace", "pattern": {"String": _BLANK}, "content": " "}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    return _tokenizer(
        file,
        tokens,
        _merges(tokens, [float(score) for score in scores], _apart(file, tokens)),
        normalizer={
            "type": "Sequence",
            "normalizers": [*([{"type": "Prepend", "prepend": _BLANK}] if prefix else []), blank],
        },
        pre_tokenizer=None,
        decoder={"type": "Sequence", "decoders": [text, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip]},
        unk_token=_token(file, tokens, "unknown"),
        fuse_unk=True,
        byte_fallback=True,
    )


def _merges(tokens: list[str], scores: list[float], apart: Collection[int]) -> list[list[str]]:
    """The merges that a vocabulary with scores stands for: each way to put a token together, the best token first.

    None puts one together that is `apart`: SentencePiece never makes a control token of text.
    """
    ids = {token: i for i, token in enumerate(tokens)}
    found: list[tuple[float, int, int, int]] = []
    for token, whole in ids.items():
        if whole in apart:
            continue
        for cut in range(1, len(token)):
            left, right = ids.get(token[:cut]), ids.get(token[cut:])
            if left is not None and right is not None:
                found.append((-scores[whole], whole, left, right))
    return [[tokens[left], tokens[right]] for _, _, left, right in sorted(found)]


def _tokenizer(file: GgufFile, tokens: list[str], merges: list[Any], **parts: Any) -> dict[str, Any]:
    """The content of `tokenizer.json`."""
    stages = {name: parts.pop(name) for name in ("normalizer", "pre_tokenizer", "decoder")}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": tokens[i], **plain, "special": kind == _CONTROL}
            for i, kind in _apart(file, tokens).items()
        ],
        **stages,
        "post_processor": None,
        "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges, **parts},
    }


def _apart(file: GgufFile, tokens: list[str]) -> dict[int, int]:
    """The tokens that are found whole or not at all: control tokens, and what a model's maker has added, with the kind
    of each."""
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    if kinds is None or len(kinds) != len(tokens):
        raise _refusal(file, "it does not say which tokens are control tokens")
    return {i: kind for i, kind in enumerate(map(int, kinds)) if kind in (_CONTROL, _USER_DEFINED)}


def _token(file: GgufFile, tokens: list[str], name: str) -> str | None:
    number = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
    if number is None:
        return None
    if type(number) is not int or not 0 <= number < len(tokens):
        raise _refusal(file, f"its {name} token is {number!r:.40}")
    return tokens[number]


def _adds_beginning(file: GgufFile, kind: str) -> bool:
    """Whether a text begins with a token of its own; files that do not say so mean what their kind does."""
    usual = kind == "llama" or _SPLITS.get(file.value("tokenizer.ggml.pre", str, "")) == _LLAMA3
    return bool(file.value("tokenizer.ggml.add_bos_token", bool, usual))


def _beginning(token: str, number: int) -> dict[str, Any]:
    first = {"SpecialToken": {"id": token, "type_id": 0}}
    text, second = ({"Sequence": {"id": name, "type_id": type_id}} for name, type_id in (("A", 0), ("B", 1)))
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def _refusal(file: GgufFile, reason: str) -> ModelError:
    return ModelError(f"{file.path}: its tokenizer cannot be used ({reason}): use another file")

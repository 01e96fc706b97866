"""Byte-level BPE through tiktoken: an `Encoding` made of a checkpoint's own vocabulary, merges and split pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import tiktoken
from tokenizers import Regex, normalizers

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# What tokenizers' regular expressions (Oniguruma) and tiktoken's (Rust) read differently.
_DIALECT = re.compile(r"\\[bBwWXZ]|\[:|\(\?m|\d\}\+|(?<![\\\[])[\^$]")

# tiktoken keeps a backtracking state for each blank of a run and panics at a million of them.
_LONGEST_BLANK = 250_000
NO_TOKEN = -1
_BLANKS = re.compile(r"\s{2,}")


class ByteBPE:
    """Encodes ordinary text to the ids that `tokenizers` would give it; knows no special tokens."""

    def __init__(self, pattern: str, tokens: dict[bytes, int], *, nfc: bool) -> None:
        """`tokens`: ids by spelling, the 256 bytes first (`NO_TOKEN` if it has none), then in order of their merges.

        Raises ValueError if tiktoken cannot compile `pattern`.
        """
        self._ids = list(tokens.values())
        self._has_gaps = NO_TOKEN in self._ids
        self._lengths = list(map(len, tokens))
        self._normalizer = normalizers.NFC() if nfc else None
        # tiktoken merges in the order of its own ids: it is given ranks, and the checkpoint's ids are looked up after.
        ranks = {spelling: rank for rank, spelling in enumerate(tokens)}
        self._encoding = tiktoken.Encoding("checkpoint", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})

    @classmethod
    def from_json(cls, tokenizer: dict[str, Any]) -> ByteBPE | None:
        """The encoder of a parsed `tokenizer.json`, or None if that is no byte-level BPE which tiktoken can express."""
        normalizer = tokenizer.get("normalizer")
        pattern = _split_pattern(tokenizer.get("pre_tokenizer") or {})
        added = {added["content"] for added in tokenizer["added_tokens"]}
        tokens = _tokens_in_merge_order(tokenizer["model"], added, special_tokens(tokenizer))
        if pattern is None or tokens is None or normalizer not in (None, {"type": "NFC"}):
            return None
        try:
            return cls(pattern, tokens, nfc=normalizer is not None)
        except ValueError:
            return None

    def encode(self, text: str) -> list[int] | None:
        """The ids of `text`, or None for the rare text that only `tokenizers` encodes rightly."""
        if self._normalizer is not None:
            text = self._normalizer.normalize_str(text)
        if max(map(len, _BLANKS.findall(text)), default=0) > _LONGEST_BLANK:
            return None
        ranks = self._encoding.encode_ordinary(text)
        # tiktoken drops what the pattern does not match; tokenizers may keep it as a piece of its own.
        if sum(map(self._lengths.__getitem__, ranks)) != len(text.encode()):
            return None
        ids = list(map(self._ids.__getitem__, ranks))
        return None if self._has_gaps and NO_TOKEN in ids else ids


def merged_tokens(merges: Iterable[str | list[str]]) -> Iterable[str]:
    """The token that each merge makes; older files write a merge as one string with a space in it."""
    return (merge.replace(" ", "") if isinstance(merge, str) else "".join(merge) for merge in merges)


def special_tokens(tokenizer: dict[str, Any]) -> set[str]:
    """The special tokens of a parsed `tokenizer.json`: no text makes them, whatever its merges say."""
    return {added["content"] for added in tokenizer["added_tokens"] if added.get("special")}


def _alphabet() -> dict[str, int]:
    """Byte by character, as GPT-2 writes bytes: printable Latin-1 as it is, the other bytes in order from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_ALPHABET = _alphabet()


def _bytes(token: str) -> bytes:
    return bytes(map(_ALPHABET.__getitem__, token))


def _split_pattern(pre_tokenizer: dict[str, Any]) -> str | None:
    """One pattern whose matches are the pieces that the pre-tokenizer makes, or None if there is none that we know."""
    stages = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    match stages:
        case [*splits, {"type": "ByteLevel", "add_prefix_space": False, **options}]:
            use_regex = options.get("use_regex", True)
        case _:
            return None
    match splits, use_regex:
        case [], True:
            return GPT2_PATTERN
        case [{"type": "Digits", "individual_digits": individual}], True:
            # Digits are cut out first: GPT-2's pattern then sees texts that end at a digit, as if it were a blank.
            # (Digits newer than Unicode 16 apart, which `tokenizers` takes from Rust's own, newer tables.)
            digits = r"\p{N}" if individual else r"\p{N}+"
            return GPT2_PATTERN.replace(r" ?\p{N}+", digits).replace(r"(?!\S)", r"(?![^\s\p{N}])")
        case (
            (
                [{"type": "Split", "behavior": "Isolated", "pattern": {"Regex": pattern}}]
                | [{"type": "Split", "behavior": "Removed", "invert": True, "pattern": {"Regex": pattern}}]
            ),
            False,
        ):
            return None if _DIALECT.search(pattern) or _matches_nothing(pattern) else str(pattern)
    return None


def _matches_nothing(pattern: str) -> bool:
    """Whether `pattern` matches the empty text, at which tiktoken panics."""
    return str(normalizers.Replace(Regex(rf"a(?:{pattern})\z"), "").normalize_str("a")) == ""


def _tokens_in_merge_order(model: dict[str, Any], added: set[str], special: set[str]) -> dict[bytes, int] | None:
    """Ids by spelling, bytes first, then as merged, special ones left out; None for a BPE that is more than that."""
    plain = model.get("type") == "BPE" and not any(
        model.get(option) for option in ("byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix")
    )
    if not plain:
        return None
    vocabulary = model["vocab"]
    order = dict.fromkeys([*_ALPHABET, *(token for token in merged_tokens(model["merges"]) if token not in special)])
    # With `ignore_merges` a word that no merge leads to is found all the same: tiktoken has no such tokens.
    unmerged = vocabulary.keys() - order.keys() - added if model.get("ignore_merges") else ()
    if unmerged:
        return None
    try:
        # SmolLM's vocabulary lacks 21 bytes that no text of its training had.
        return {
            _bytes(token): vocabulary.get(token, NO_TOKEN) if token in _ALPHABET else vocabulary[token]
            for token in order
        }
    except KeyError:  # a merge of characters that are not bytes
        return None

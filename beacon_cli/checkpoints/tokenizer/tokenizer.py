"""The tokenizer of a local checkpoint: documents and prompts to ids, ids to text, messages to a prompt."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import tokenizers

from beacon_cli.checkpoints.local.fingerprint import remembered
from beacon_cli.checkpoints.tokenizer.bounds import bounded
from beacon_cli.checkpoints.tokenizer.byte_bpe import ByteBPE, merged_tokens, special_tokens
from beacon_cli.checkpoints.tokenizer.stream_decoder import StreamDecoder
from beacon_cli.checkpoints.tokenizer.template import render
from beacon_cli.checkpoints.tokenizer.tokenizer_files import TokenizerFiles, read_tokenizer_files
from beacon_cli.errors import ModelError

Messages = list[dict[str, str]]

# Read once by both backends at every start: scripts, numbers, blanks, emoji, contractions, code, stray marks.
_PROBE = (
    "It's what they'll say: I'VE 3 of 1,234,567 (or 50%)... don't you'd we're I'm\n\n"
    "  two  spaces\tand\t\ttabs \r\n\r\n   trailing   \n \n\u00a0no-break\u3000wide\u2028line\u0085end\n"
    "Ærøskøbing naïve Žižek Straße İstanbul ﬁne e\u0301 n\u0303 ½ ² Ⅷ ٣٤ १२ _snake_case camelCase HTTPServer\n"
    "Ο ήλιος λάμπει. Снег идёт! السلام عليكم؟ שָׁלוֹם עולם नमस्ते दुनिया สวัสดีชาวโลก\n"
    "你好，世界。こんにちは、世界！カタカナ 안녕하세요 🙂👍🏽👩\u200d👩\u200d👧🇬🇷 €£¥ ≤≠∑\n"
    "“curly” ‘quotes’ — dash -- ... != == => {x[0]: 'y'} #include <a/b>//c\\d\x00\x7f\ufeff\ufffd  "
)
_PROBED_TOKENS = 4096

# So many characters are worth making a second, faster encoder, which takes 0.1 s for a vocabulary of 49,000 tokens.
_MANY = 50_000

# A template is a program, which may go on for ever and make texts of any size.
_TEMPLATE_SECONDS, _TEMPLATE_BYTES = 5.0, 1 << 28


class Tokenizer:
    """Made by `Tokenizer.from_folder`.

    Attributes:
        eos_ids: every id that ends an answer, from generation_config.json, config.json and tokenizer_config.json.
    """

    def __init__(self, files: TokenizerFiles, cache: Path | None) -> None:
        """Raises ValueError if `tokenizers` cannot make anything of `tokenizer.json`."""
        self._files, self._cache = files, cache
        self._reference = _load(files.json_text)
        self._encoded = 0  # characters
        self._added = self._reference.get_added_tokens_decoder().keys()
        named = self._reference.token_to_id(files.special.get("eos_token", ""))
        self.eos_ids = files.eos_ids if named is None else files.eos_ids | {named}

    @classmethod
    def from_folder(cls, folder: Path, cache: Path | None = None) -> Tokenizer:
        """Raises ModelError if `folder` holds no `tokenizer.json`, or that or a file beside it is damaged.

        Args:
            cache: see `fingerprint.remembered`; None computes the fingerprint anew.
        """
        try:
            return cls(read_tokenizer_files(folder), cache)
        except ValueError as error:
            raise ModelError(
                f"{folder / 'tokenizer.json'} is damaged ({error}): restore or download the model again"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what determines ids: the vocabulary with its rules, and the chat template."""
        template = self._files.chat_template
        if self._cache is None:
            return _fingerprint(self._parsed, template)
        content = hashlib.sha256(self._files.json_text + json.dumps(template).encode()).hexdigest()
        return remembered(content, self._cache, lambda: _fingerprint(self._parsed, template))

    @property
    def backend(self) -> Literal["tiktoken", "tokenizers"]:
        """What encodes documents; the ids are those of the checkpoint's `tokenizer.json` with either."""
        return "tokenizers" if self._bpe is None else "tiktoken"

    def encode(self, text: str) -> list[int]:
        """Ids of a document's text: no token is added, and control tokens written out in it stay ordinary text.

        Lone surrogates, which some PDFs hold, are read as U+FFFD.
        """
        text = _well_formed(text)
        self._encoded += len(text)
        if self._encoded < _MANY:
            ids = self._reference.encode(text, add_special_tokens=False).ids
            if self._added.isdisjoint(ids):  # none was written out in it
                return list(ids)
        ids = None if self._bpe is None else self._bpe.encode(text)
        return list(self._text_only.encode(text, add_special_tokens=False).ids) if ids is None else ids

    def encode_prompt(self, rendered: str) -> list[int]:
        """Ids of a rendered chat template: control tokens are recognised, none is added."""
        return list(self._reference.encode(_well_formed(rendered), add_special_tokens=False).ids)

    @cached_property
    def text_opening(self) -> list[int]:
        """What the checkpoint's own tokenizer puts before every text: a token that begins it, or nothing."""
        first = self._reference.encode("")
        return [
            i for i, token in zip(first.ids, first.tokens, strict=True) if token == self._files.special.get("bos_token")
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` without special tokens; bytes that are not UTF-8 become U+FFFD."""
        return str(self._reference.decode(list(ids), skip_special_tokens=True))

    def render(self, messages: Messages, add_generation_prompt: bool = True) -> str:
        """The prompt that the checkpoint's chat template makes of `messages` (dicts of role and content).

        The same messages give the same prompt on any day, or a condensed prompt could not be reused tomorrow: a
        template that asks for the date is told a fixed one. Reasoning models are asked to answer at once. A checkpoint
        without a template gets the contents, a blank line apart, after the token it begins every text with, if any.
        Raises ModelError if the template refuses the messages.
        """
        if self._files.chat_template is None:
            begin = self._files.special["bos_token"] if self.text_opening else ""
            return begin + "\n\n".join(message["content"] for message in messages)
        try:
            with bounded(_TEMPLATE_SECONDS, _TEMPLATE_BYTES):
                return render(
                    self._files.chat_template,
                    messages,
                    add_generation_prompt=add_generation_prompt,
                    enable_thinking=False,
                    **self._files.special,
                )
        except Exception as error:  # a template is a program: it may divide by zero, or add a text to a number
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ModelError(f"the model's chat template fails ({reason}): use another model") from error

    @property
    def asks_not_to_think(self) -> str:
        """What ends a message that is to be answered at once, for a template that reads that from messages only."""
        template = self._files.chat_template or ""
        return " /no_think" if "/no_think" in template and "enable_thinking" not in template else ""

    def split_prompt(self, messages: Callable[[str], Messages]) -> tuple[list[int], list[int]]:
        """The ids of the prompt before and after the document.

        `messages` builds the conversation around a document's text; it is called with stand-ins for it.
        Raises ModelError if the chat template does not repeat the document exactly once, or fails.
        """
        without = self.render(messages(""))
        stand_in = next(name for n in itertools.count() if (name := f"DOCUMENT{n}") not in without)
        before, found, after = self.render(messages(stand_in)).partition(stand_in)
        if not found or stand_in in after:
            raise ModelError("the model's chat template does not hold the document exactly once: use another model")
        return self.encode_prompt(before), self.encode_prompt(after)

    def stream_decoder(self) -> StreamDecoder:
        """Decodes one answer as its ids come."""
        return StreamDecoder(self.decode)

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        """Only what `_load` took; that makes nothing of a missing list of added tokens."""
        parsed: dict[str, Any] = json.loads(self._files.json_text)
        return {**parsed, "added_tokens": parsed.get("added_tokens") or []}

    @cached_property
    def _bpe(self) -> ByteBPE | None:
        """tiktoken's encoder, if there can be one and it gives the same ids."""
        bpe = None if _blank_tokens(self._parsed) else ByteBPE.from_json(self._parsed)
        return bpe if bpe is not None and self._agrees(bpe) else None

    @cached_property
    def _text_only(self) -> Any:
        """The checkpoint's tokenizer, with its control tokens out of reach of any text."""
        return _load(json.dumps(_without_control_tokens(self._parsed)).encode())

    def _agrees(self, bpe: ByteBPE) -> bool:
        """Whether both backends give the probe, and a sample of the vocabulary (all of a small one), the same ids."""
        ids = [token for token in self._parsed["model"]["vocab"].values() if token not in self._added]
        sample = [[token] for token in ids[:: 1 + len(ids) // _PROBED_TOKENS]]
        probe = _PROBE + "\n".join(self._reference.decode_batch(sample))
        return bpe.encode(probe) == self.encode_prompt(probe)


def _load(json_text: bytes) -> Any:
    """A `tokenizers.Tokenizer` that neither cuts nor pads. Raises ValueError."""
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(json_text)
    except Exception as error:  # tokenizers raises bare Exceptions, whatever is wrong
        raise ValueError(" ".join(str(error).split())) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _well_formed(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _fingerprint(parsed: dict[str, Any], template: str | None) -> str:
    parts = {part: parsed.get(part) for part in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    canonical = json.dumps({**parts, "chat_template": template}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _blank_tokens(parsed: dict[str, Any]) -> set[str]:
    """Added tokens that are runs of blanks (GPT-NeoX has them): the only ones that are part of ordinary text."""
    added = parsed["added_tokens"]
    return {token["content"] for token in added if not token.get("special") and token["content"].isspace()}


def _without_control_tokens(parsed: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer, for text that must not reach its control tokens however it spells them.

    Added tokens are renamed to what nobody can guess: were they left out, those that remain would be numbered anew, and
    a Unigram model would find what its vocabulary lists. What merges make of a special one goes with it: many files
    list every way to put any entry together. Another one that merges make, or that stands for the unknown, keeps its
    name in the vocabulary, and is no added token any more.
    """
    model = parsed["model"]
    special = special_tokens(parsed)
    merges = model.get("merges", [])
    made = list(merged_tokens(merges))
    fixed = {model.get("unk_token"), *(set(made) - special)}
    control = {token["content"] for token in parsed["added_tokens"]} - _blank_tokens(parsed)
    free = control - fixed
    secret = secrets.token_hex(16)

    def renamed(token: str) -> str:
        return secret + token if token in free else token

    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary = {renamed(token): i for token, i in vocabulary.items()}
    else:
        vocabulary = [[renamed(token), score] for token, score in vocabulary]
    added = [
        {**token, "content": renamed(token["content"])}
        for token in parsed["added_tokens"]
        if token["content"] not in control or token["content"] in free
    ]
    if merges:
        kept = [
            merge
            for merge, whole in zip(merges, made, strict=True)
            if whole not in special and free.isdisjoint(merge.split(" ") if isinstance(merge, str) else merge)
        ]
        model = {**model, "merges": kept}
    return {**parsed, "model": {**model, "vocab": vocabulary}, "added_tokens": added}

"""Text of ids that arrive one by one, a character at a time whole."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from typing import Protocol


class StreamDecoder(Protocol):
    """For one answer: the pieces together are what all the ids decode to."""

    def push(self, token: int) -> str:
        """The text that `token` completes, often empty."""

    def finish(self) -> str:
        """What was held back: U+FFFD for a character that is broken off."""


class ByteStream:
    """For a byte-level vocabulary, in which each id stands for bytes whatever is around it."""

    def __init__(self, spell: Callable[[int], bytes]) -> None:
        self._spell = spell
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        return self._utf8.decode(self._spell(token))

    def finish(self) -> str:
        return self._utf8.decode(b"", final=True)


class TextStream:
    """For any vocabulary: decodes all the ids again at every push, since an id's text may depend on those before it.

    A SentencePiece-like decoder takes a whole run of byte tokens for broken when only its last character is. What was
    sent of such a run stays, and only that character becomes U+FFFD.
    """

    def __init__(self, decode: Callable[[Iterable[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._sent = 0

    def push(self, token: int) -> str:
        self._ids.append(token)
        return self._send(self._decode(self._ids).rstrip("\ufffd"))

    def finish(self) -> str:
        return self._send(self._decode(self._ids))

    def _send(self, text: str) -> str:
        new = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return new

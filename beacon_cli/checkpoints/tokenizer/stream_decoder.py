"""Text of ids that arrive one by one, a character at a time whole.

`tokenizers` has a `DecodeStream` for this. It cannot be told that the answer has ended, so that what it holds back is
lost; and with the byte tokens of Llama 2 and Mistral it raises in the middle of an answer when a run of them
is broken: at 4 of 10 random sequences of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class StreamDecoder:
    """For one answer: the pieces together are what all the ids decode to.

    All the ids are decoded again at every push, since an id's text may depend on those before it. A SentencePiece-like
    decoder takes a whole run of byte tokens for broken when only its last character is. What was sent of such a run
    stays, and only that character becomes U+FFFD.
    """

    def __init__(self, decode: Callable[[Iterable[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._sent = 0

    def push(self, token: int) -> str:
        """The text that `token` completes, often empty."""
        self._ids.append(token)
        return self._send(self._decode(self._ids).rstrip("\ufffd"))

    def finish(self) -> str:
        """What was held back: U+FFFD for a character that is broken off."""
        return self._send(self._decode(self._ids))

    def _send(self, text: str) -> str:
        new = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return new

"""Pages for text that has none of its own."""

from __future__ import annotations

from collections.abc import Iterator

# About a paperback's page.
PAGE_CHARS = 2000


def slices(text: str) -> Iterator[str]:
    """Cut `text`, losing nothing, into parts of at most `PAGE_CHARS` characters.

    Each ends with the last paragraph in its second half; failing that with a line, a sentence, a word.
    """
    start = 0
    while len(text) - start > PAGE_CHARS:
        end = start + PAGE_CHARS
        for mark in ("\n\n", "\n", ". ", " "):
            found = text.rfind(mark, start + PAGE_CHARS // 2, end)
            if found >= 0:
                end = found + len(mark)
                break
        yield text[start:end]
        start = end
    yield text[start:]

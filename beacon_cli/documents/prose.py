"""From extracted or typed lines to running text: no stray characters, one line per paragraph.

A line break is a *wrap* if the first word of the next line would not have fitted behind the line. Any other
break was meant: the end of a paragraph, a heading, a row of a table, a verse.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Set
from itertools import accumulate, pairwise

_REPLACED: dict[int, str | None] = {
    **dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), None),  # control characters, but see below
    **dict.fromkeys(range(0xD800, 0xE000), None),  # lone surrogates, which no encoding takes
    **dict.fromkeys((0x200B, 0x2060, 0xFEFF), None),  # spaces of no width
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F), " "),
    **dict.fromkeys((0x0B, 0x0D, 0x85, 0x2028, 0x2029), "\n"),
    **dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True)),
    **{ord(kept): kept for kept in "\t\n\f"},
}

# Roughly how wide characters are in proportional type, the average being 1.
_CHAR_WIDTHS = {
    **dict.fromkeys("ijlt.,:;'|!’‘ ", 0.58),
    **dict.fromkeys('frs()[]-“”"/I*', 0.76),
    **dict.fromkeys("mw%@&—MW", 1.65),
}
_CAPITAL, _OTHER = 1.42, 1.06
# What the estimate of a line's width may fall short by.
_ESTIMATED = 0.96
_MIN_PDF_WIDTH = 40

# When a plain text counts as wrapped, see `hard_wrap_width`.
_MIN_WIDTH, _MAX_WIDTH = 50, 100
_MIN_BREAKS, _MIN_WRAPS = 8, 0.7

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_BROKEN_WORD = re.compile(r"\w+[-‐]\n[ \t]*\w+")
_FRAGMENT = re.compile(r"(?<![^\s(\"'“‘])([^\W\d_]{2,})[-‐]$")
_LEADER = re.compile(r"(?:\. ?){4}")  # a line of a table of contents ends where it ends
_LETTERS = re.compile(r"[^\W\d_]+")


def clean(text: str) -> str:
    """Normalize characters: NFC, `\\n` line ends, plain spaces, ligatures spelt out.

    What remains can be encoded as UTF-8 and holds no control characters but `\\n`, `\\t` and `\\f`.
    """
    text = re.sub("\xad(?!\r?\n)", "", text).replace("\xad", "-")  # a soft hyphen shows at a line's end only
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").translate(_REPLACED))


def tidy_page(text: str) -> str:
    """The running text of a page that was extracted from a PDF, where blank lines separate blocks.

    The page's width is that of the lines that hold most of its characters (nine in ten are in lines no longer).
    Below 40 characters nothing tells a narrow column from a list, and lines stay; only broken words are joined.
    """
    text = clean(text).replace("\f", "\n")
    widths = sorted(_printed_width(line.rstrip()) for line in text.split("\n"))
    held = list(accumulate(widths))
    width = widths[bisect_left(held, 0.9 * held[-1])]
    return unwrap(text, width * _ESTIMATED if width >= _MIN_PDF_WIDTH else math.inf, _printed_width)


def _printed_width(line: str) -> float:
    return sum(_CHAR_WIDTHS.get(char) or (_CAPITAL if char.isupper() else _OTHER) for char in line)


def hard_wrap_width(text: str) -> int | None:
    """The column at which a plain text is wrapped, or None if its lines are paragraphs or are meant.

    It counts as wrapped if 99 % of its lines keep within a width of 50 to 100 characters and if, at that width,
    at least 70 % of the line breaks inside its paragraphs (8 or more) are wraps. Verse, lists and code are not.
    """
    lines = [line.rstrip() for line in text.split("\n")]
    lengths = sorted(len(line) for line in lines if line)
    width = lengths[len(lengths) * 99 // 100] if lengths else 0
    breaks = [(line, following) for line, following in pairwise(lines) if line and following]
    if not _MIN_WIDTH <= width <= _MAX_WIDTH or len(breaks) < _MIN_BREAKS:
        return None
    wraps = sum(_is_wrap(line, following, width, len) for line, following in breaks)
    return width if wraps >= _MIN_WRAPS * len(breaks) else None


def unwrap(text: str, width: float, measure: Callable[[str], float] = len) -> str:
    """Undo the wraps of `text` at `width` (in what `measure` gives), join broken words, collapse spaces.

    Breaks that are not wraps stay; blank lines between paragraphs become one.
    """
    text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
    words = set(_WORD.findall(_BROKEN_WORD.sub(" ", text).lower()))
    paragraphs = (_unwrap_paragraph(part.split("\n"), words, width, measure) for part in re.split(r"\n\n+", text))
    return "\n\n".join(filter(None, paragraphs))


def _unwrap_paragraph(lines: list[str], words: Set[str], width: float, measure: Callable[[str], float]) -> str:
    joined = lines[:1]
    for line, following in pairwise(lines):
        if _is_wrap(line, following, width, measure):
            joined[-1] = _join(joined[-1], following.lstrip(), words)
        else:
            joined.append(following)
    return "\n".join(" ".join(line.split()) for line in joined)


def _is_wrap(line: str, following: str, width: float, measure: Callable[[str], float]) -> bool:
    if _LEADER.search(line):
        return False
    longer = f"{line} {following.split(None, 1)[0]}"
    return measure(longer) > width or _is_broken_word(line, following)


def _is_broken_word(line: str, following: str) -> bool:
    return _FRAGMENT.search(line) is not None and following.lstrip()[0].islower()


def _join(line: str, following: str, words: Set[str]) -> str:
    if _is_broken_word(line, following):
        return line[: None if _keeps_hyphen(line, following, words) else -1] + following
    if re.search(r"(?:\w[-‐]|\S(?:--|—))$", line) and following[0].isalnum():
        return line + following
    return f"{line} {following}"


def _keeps_hyphen(line: str, following: str, words: Set[str]) -> bool:
    """Whether the word across the break is a compound, judged by the other words of the text."""
    fragment, rest = _FRAGMENT.search(line), _LETTERS.match(following)
    if fragment is None or rest is None:
        return True
    first, last = fragment[1].lower(), rest[0].lower()
    return first + last not in words and (f"{first}-{last}" in words or {first, last} <= words)

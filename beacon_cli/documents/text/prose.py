"""From extracted or typed lines to running text: no stray characters, one line per paragraph.

A line break is a *wrap* if the first word of the next line would not have fitted after the line. Any other
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
    # What steers the direction of text on a terminal, and letters that nobody sees; joiners (U+200C, U+200D) are
    # part of words.
    **dict.fromkeys((0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), None),
    **dict.fromkeys(range(0xE0000, 0xE0080), None),
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F), " "),
    **dict.fromkeys((0x0B, 0x0D, 0x85, 0x2028, 0x2029), "\n"),
    **dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True)),
    **{ord(kept): kept for kept in "\t\n\f"},
}

# Control characters that no text has (typewriters, terminals, Word and DOS leave some), and what stands for bytes that
# mean nothing.
BINARY = re.compile("[\x00-\x07\x0e-\x19\x1c-\x1f\x7f\ufffd]")

# Roughly how wide characters are in proportional type, the average being 1.
_CHAR_WIDTHS = {
    **dict.fromkeys("ijlt.,:;'|!’‘ ", 0.58),
    **dict.fromkeys('frs()[]-“”"/I*', 0.76),
    **dict.fromkeys("mw%@&—MW", 1.65),
}
_CAPITAL, _OTHER, _FULL = 1.42, 1.06, 2.1
# What the estimate of a line's width may fall short by.
_ESTIMATED = 0.96
_MIN_PDF_WIDTH = 40

# When a plain text counts as wrapped, see `hard_wrap_width`.
_MIN_WIDTH, _MAX_WIDTH = 50, 100
_MIN_BREAKS, _MIN_WRAPS = 8, 0.7

# Of terminals: colours and cursors, titles of windows, character sets.
_ESCAPE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)|\x1b[ -/][0-~]|\x1b[0-~]"
)
_STRUCK_OVER = re.compile("[^\n\b]\b")
# Marks on one letter; more are for show, and take normalization a time that is quadratic in their number.
_MOST_MARKS = 30
_MARKS = re.compile(rf"[^\x00-\u02ff\w\s]{{{_MOST_MARKS},}}")
_ARABIC_SHAPES = re.compile("[\ufb50-\ufdff\ufe70-\ufefe]+")
_RTL_LETTER = "\u0590-\u07ff\u08a0-\u08ff"
_FINAL_LETTER = "םןץףךةى"
_STARTS_WITH_FINAL = re.compile(f"(?<![{_RTL_LETTER}])[{_FINAL_LETTER}](?=[{_RTL_LETTER}])")
_ENDS_WITH_FINAL = re.compile(f"(?<=[{_RTL_LETTER}])[{_FINAL_LETTER}](?![{_RTL_LETTER}])")
_RIGHT_TO_LEFT = re.compile(f"[{_RTL_LETTER}](?:[{_RTL_LETTER} .,;:!?'()-]*[{_RTL_LETTER}])?")
# Scripts that put no space between words.
_WITHOUT_SPACES = "\u2e80-\u30ff\u31f0-\u4dbf\u4e00-\ua4cf\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff"
_WIDE = re.compile(f"[{_WITHOUT_SPACES}\uac00-\ud7a3]")
_NO_SPACE_HERE = re.compile(f"[{_WITHOUT_SPACES}]\n[{_WITHOUT_SPACES}]")

_WORD = re.compile(r"(?:[^\W\d_]|(?<=[^\W\d_])-(?=[^\W\d_]))+")  # "well-known" is one
_BROKEN_WORD = re.compile(r"\b\w+[-‐]\n[ \t]*\w+")
_FRAGMENT = re.compile(r"(?<![^\s(\"'“‘])([^\W\d_]{2,})[-‐]$")
_LEADER = re.compile(r"(?:\. ?){4}")  # a line of a table of contents ends where it ends
_LETTERS = re.compile(r"[^\W\d_]+")


def clean(text: str) -> str:
    """Normalize characters: NFC, `\\n` line ends, plain spaces, ligatures spelt out.

    What remains can be encoded as UTF-8 and holds no control characters but `\\n`, `\\t` and `\\f`; of what steers a
    terminal or a typewriter (escape sequences, letters struck over others) what a reader would see remains.
    """
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPE.sub("", text)
    if "\b" in text:
        text = _STRUCK_OVER.sub("", re.sub("([^\n\b_])\b_", r"\1", text))
    text = re.sub("\xad(?!\r?\n)", "", text).replace("\xad", "-")  # a soft hyphen shows at a line's end only
    text = _MARKS.sub(_few_marks, text.replace("\r\n", "\n").translate(_REPLACED))
    # Arabic letters in the shapes that they take in a word, as fonts have them.
    text = _ARABIC_SHAPES.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return unicodedata.normalize("NFC", text)


def _few_marks(found: re.Match[str]) -> str:
    kept, marks = list[str](), 0
    for char in found[0]:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def one_line(text: str, longest: int) -> str:
    """`text` cleaned, on one line, cut to `longest` characters."""
    line = " ".join(clean(text[: 4 * longest]).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def tidy_page(text: str) -> str:
    """The running text of a page that was extracted from a PDF, where blank lines separate blocks.

    The page's width is that of the lines that hold most of its characters (nine in ten are in lines no longer).
    Below 40 characters nothing tells a narrow column from a list, and lines stay; only broken words are joined.
    """
    text = _in_reading_order(clean(text).replace("\f", "\n"))
    widths = sorted(_printed_width(line.rstrip()) for line in text.split("\n"))
    held = list(accumulate(widths))
    width = widths[bisect_left(held, 0.9 * held[-1])]
    return unwrap(text, width * _ESTIMATED if width >= _MIN_PDF_WIDTH else math.inf, _printed_width)


def _in_reading_order(text: str) -> str:
    """Right-to-left words the right way round, as told by letters that stand at the end of words only.

    pypdf takes text to be drawn from left to right; programs that know nothing of such scripts draw it in the order of
    reading, and get it turned round.
    """
    if len(_STARTS_WITH_FINAL.findall(text)) <= len(_ENDS_WITH_FINAL.findall(text)):
        return text
    return _RIGHT_TO_LEFT.sub(lambda run: run[0][::-1], text)


def _printed_width(line: str) -> float:
    return sum(_CHAR_WIDTHS.get(char) or _other_width(char) for char in line)


def _other_width(char: str) -> float:
    if char.isupper():
        return _CAPITAL
    return _FULL if _WIDE.match(char) else _OTHER


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
    pieces = lines[:1]
    for line, following in pairwise(lines):
        if _is_wrap(line, following, width, measure):
            cut, between = _seam(line, following.lstrip(), words)
            if cut:
                pieces[-1] = pieces[-1][:-1]
            pieces += [between, following.lstrip()]
        else:
            pieces += ["\n", following]
    return "\n".join(" ".join(line.split()) for line in "".join(pieces).split("\n"))


def _is_wrap(line: str, following: str, width: float, measure: Callable[[str], float]) -> bool:
    if _LEADER.search(line):
        return False
    longer = f"{line} {following.split(None, 1)[0]}"
    return measure(longer) > width or _is_broken_word(line, following)


def _is_broken_word(line: str, following: str) -> bool:
    return _FRAGMENT.search(line) is not None and following.lstrip()[0].islower()


def _seam(line: str, following: str, words: Set[str]) -> tuple[bool, str]:
    """Whether the hyphen at the end of `line` goes, and what stands between the two when they are joined."""
    if _is_broken_word(line, following):
        return not _keeps_hyphen(line, following, words), ""
    if re.search(r"(?:\w[-‐]|\S(?:--|—))$", line) and following[0].isalnum():
        return False, ""
    if _NO_SPACE_HERE.fullmatch(f"{line[-1:]}\n{following[:1]}"):
        return False, ""
    return False, " "


def _keeps_hyphen(line: str, following: str, words: Set[str]) -> bool:
    """Whether the word across the break is a compound, judged by the other words of the text."""
    fragment, rest = _FRAGMENT.search(line), _LETTERS.match(following)
    if fragment is None or rest is None:
        return True
    first, last = fragment[1].lower(), rest[0].lower()
    return first + last not in words and (f"{first}-{last}" in words or {first, last} <= words)

"""How plain text writes what paper raises, stacks and counts: powers, fractions, formulas, the numbers of lists."""

from __future__ import annotations

import re

_ROMAN = [(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x")]
_ROMAN += [(9, "ix"), (5, "v"), (4, "iv"), (1, "i")]
_LARGEST = 4999  # that anyone writes in Roman numerals
_SPACED = re.compile(r"[=<>≤≥≠≈≡∼±+−×÷·∈∉⊂∪∩→←↔⇒⇔-]+")


def raised(text: str, before: str, *, is_reference: bool = False) -> str:
    """A superscript that follows `before`: `10^6`, but `1st`, and `[3]` for a reference to a note."""
    text = text.strip()
    if is_reference and text:
        return text if text[0] in "[(" else f"[{text}]"
    if not before[-1:].isalnum() and before[-1:] not in (")", "]"):
        return text
    is_power = text[:1].isdigit() or text[:1] in ("+", "-", "−", "–") or (len(text) == 1 and text in "nmkxyzijpqTN")
    return f"^{text}" if is_power else text


def operator(text: str) -> str:
    """An operator of a formula, with spaces around it if it is written so."""
    return f" {text} " if _SPACED.fullmatch(text) else text


def scripts(base: str, lower: str = "", upper: str = "") -> str:
    """Something with an index and a power, either of which may be missing."""
    return base + (f"_{grouped(lower)}" if lower else "") + (f"^{grouped(upper)}" if upper else "")


def fraction(above: str, below: str) -> str:
    """A fraction on one line."""
    return f"{grouped(above)}/{grouped(below)}"


def grouped(text: str) -> str:
    """`text`, in brackets if it is more than a number or a name."""
    text = text.strip()
    return text if text.replace(".", "", 1).isalnum() else f"({text})"


def numbered(number: int, form: str = "decimal") -> str:
    """The number of a list's item, in one of Word's forms; an unknown one is written in digits."""
    if form in ("lowerRoman", "upperRoman") and 0 < number <= _LARGEST:
        text = ""
        for value, letters in _ROMAN:
            text += letters * (number // value)
            number %= value
        return text if form == "lowerRoman" else text.upper()
    if form in ("lowerLetter", "upperLetter") and 0 < number <= _LARGEST:
        # After z comes aa, then bb, as Word counts.
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter if form == "lowerLetter" else letter.upper()
    return f"{number:02}" if form == "decimalZero" else str(number)

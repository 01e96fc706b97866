"""Characters of the fonts Symbol and Wingdings, which Word files name by their place in the font."""

from __future__ import annotations

_SYMBOL = dict(
    zip(
        b"abgdezhqiklmnxoprstufcywjvABGDEZHQIKLMNXOPRSTUFCYWJV",
        "αβγδεζηθικλμνξοπρστυφχψωϕϖΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩϑς",
        strict=True,
    )
)
_SYMBOL |= {0xA0: "€", 0xA2: "′", 0xA3: "≤", 0xA5: "∞", 0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓"}
_SYMBOL |= {0xB0: "°", 0xB1: "±", 0xB2: "″", 0xB3: "≥", 0xB4: "×", 0xB5: "∝", 0xB6: "∂", 0xB7: "•", 0xB8: "÷"}
_SYMBOL |= {0xB9: "≠", 0xBA: "≡", 0xBB: "≈", 0xBC: "…", 0xC6: "∅", 0xC7: "∩", 0xC8: "∪", 0xCE: "∈", 0xCF: "∉"}
_SYMBOL |= {0xD1: "∇", 0xD2: "®", 0xD3: "©", 0xD4: "™", 0xD5: "∏", 0xD6: "√", 0xD7: "⋅", 0xDB: "⇔", 0xDE: "⇒"}
_SYMBOL |= {0xE5: "∑", 0xF2: "∫"}
_WINGDINGS = {0x28: "☎", 0x2A: "✉", 0x6C: "●", 0x6E: "■", 0x6F: "□", 0x71: "❑", 0x75: "◆", 0x76: "❖", 0x9F: "•"}
_WINGDINGS |= {0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xE0: "→", 0xE8: "➔", 0xF0: "⇨", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒"}
_WINGDINGS |= {0xFE: "☑"}


def symbol(font: str, code: str) -> str:
    """The character at a place (hexadecimal, from F000 for these fonts) of a font; empty if it is not known."""
    try:
        place = int(code, 16)
    except ValueError:
        return ""
    table = {"symbol": _SYMBOL, "wingdings": _WINGDINGS}.get(font.lower())
    if table is None:
        return chr(place) if 0x20 <= place < 0xD800 else ""
    plain = place - 0xF000 if place >= 0xF000 else place
    return table.get(plain, chr(plain) if table is _SYMBOL and 0x20 <= plain < 0x7F else "")

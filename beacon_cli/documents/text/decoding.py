"""Text in whatever encoding it was saved."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from beacon_cli.documents.text.prose import BINARY
from beacon_cli.quantities import counted

# Read from the start to guess an encoding.
_SAMPLE = 1 << 18
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Windows-1252 as western Europe writes it: accents here and there, and the punctuation that Word sets.
_WESTERN = re.compile(
    "[\b\t\n\v\f\r\x1a\x1b -~"
    "\xa0àáâãäåæçèéêëìíîïñòóôõöøùúûüÿßœÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŸŒ€‚„…‹›‘’“”•–—™¡¿§©«»®°ª£´·½¼¾×]*"
)
# What nobody saved text in.
_UNUSUAL = (
    *("iso8859_3", "iso8859_4", "iso8859_10", "iso8859_13", "iso8859_14", "iso8859_16"),
    *("hp_roman8", "ptcp154", "kz1048", "tis_620"),
)
# What single bytes of Cyrillic are taken for: katakana of half width, a byte each.
_WITH_HALF_WIDTH = ("cp932", "shift_jis", "shift_jis_2004", "shift_jisx0213")
_KANA = re.compile("[\u3041-\u30fa]")
_ALIKE = (("cp1250", "iso8859_2"), ("cp1253", "iso8859_7"))
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_HEAD = 4096
_SPACES = re.compile("[ \n\u3000\u3001\u3002]")
# What no text has in any encoding of single or several bytes.
_CONTROL = re.compile(rb"[\x01-\x07\x0e-\x19\x1c-\x1f\x7f]")
_ACCENTS_PER_CHARACTER = 0.25
# More of these, and a file is not damaged text but something else: characters that mean nothing, zeros, and in what is
# no valid UTF-8 the fewest characters beyond ASCII for each byte that is none.
_MOST_DAMAGED, _MOST_ZEROS = 0.05, 0.1
_VALID_A_BAD_ONE = 4


def decode(data: bytes) -> tuple[str, list[str]]:
    """The text, and remarks on what is uncertain of it: an encoding that was guessed, bytes that mean nothing.

    A byte order mark or (nearly) valid UTF-8 leave nothing to guess. Raises `ValueError` with the offset of the first
    byte that is in no UTF-8 if this is no text in any encoding.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _nearly(data, encoding)
    if b"\x1b$" in data:  # Japanese and Korean mail: escape sequences in seven bits
        for encoding in ("iso2022_jp_2", "iso2022_kr"):
            try:
                return data.decode(encoding), [_guess_note(encoding)]
            except UnicodeDecodeError:
                continue
    if b"\0" in data:
        wide = _guess_wide(data)
        if wide is not None:
            text, notes = _nearly(data, wide)
            return text, [_guess_note(wide), *notes]
        return _with_nuls(data)
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        nearly = _nearly_utf8(data)
        if nearly is not None:
            return nearly
        guess = None if _CONTROL.search(data) else _guess(data)
        text = data.decode(guess, "replace") if guess else "\ufffd"
        if BINARY.search(text):
            raise ValueError(error.start) from error
        return text, [_guess_note(guess or "")]


def _guess_note(encoding: str) -> str:
    return f"was read as {encoding}, which is a guess: save it as UTF-8 if words look wrong"


def _with_nuls(data: bytes) -> tuple[str, list[str]]:
    """Text in UTF-8 that holds some zeros, or is padded with them."""
    first, content = data.index(0), data.rstrip(b"\0")
    zeros = content.count(0)
    if zeros > _MOST_ZEROS * len(content) or _CONTROL.search(content):
        raise ValueError(first)
    nearly = _nearly_utf8(content.replace(b"\0", b""))
    if nearly is None:
        raise ValueError(first)
    text, notes = nearly
    left_out = f"holds {counted(zeros, 'zero byte')} (the first is byte {first:,}), left out: it may be damaged"
    return text, [left_out, *notes] if zeros else notes


def _nearly(data: bytes, encoding: str) -> tuple[str, list[str]]:
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError as error:
        text = data.decode(encoding, "replace")
        bad = text.count("\ufffd")
        if bad > _MOST_DAMAGED * len(text):
            raise ValueError(error.start) from error
        return text, [_damage_note(bad, error.start, encoding)]


def _nearly_utf8(data: bytes) -> tuple[str, list[str]] | None:
    """UTF-8 with a few bytes that are none: single ones between plain letters are what Windows-1252 means by them."""
    bad: list[int] = []

    def replace(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        start, end = error.start, error.end
        bad.append(start)
        alone = data[max(0, start - 1) : start].isascii() and data[end : end + 1].isascii() and end < len(data)
        return data[start:end].decode("cp1252", "replace") if alone and end == start + 1 else "\ufffd", end

    rough = data.decode("utf-8", "replace")
    damaged = rough.count("\ufffd")
    if len(rough) - len(rough.encode("ascii", "ignore")) < (1 + _VALID_A_BAD_ONE) * damaged:
        return None
    codecs.register_error("beacon.nearly", replace)
    text = data.decode("utf-8", "beacon.nearly")
    return text, [_damage_note(len(bad), bad[0], "UTF-8")] if bad else []


def _damage_note(bad: int, first: int, encoding: str) -> str:
    return (
        f"holds {counted(bad, 'place')} that cannot be read as {encoding} (the first at byte {first:,}): "
        "it may be damaged, or two texts in one"
    )


def _guess_wide(data: bytes) -> str | None:
    """Which UTF-16 or UTF-32 this is, by its start: text of some language, where the bytes swapped are nonsense."""
    head = data[:_HEAD]
    for encoding in ("utf-32-le", "utf-32-be"):
        text = head[: len(head) // 4 * 4].decode(encoding, "replace")
        if text and not BINARY.search(text) and all(map(_is_assigned, text)):
            return encoding
    for encoding in ("utf-16-le", "utf-16-be"):
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
        is_latin = head.count(0) > len(head) / 4
        if (is_latin or _SPACES.search(text)) and not BINARY.search(text) and all(map(_is_assigned, text)):
            return encoding
    return None


def _is_assigned(char: str) -> bool:
    return char.isprintable() or char.isspace() or char in "\u200b\u200c\u200d\u200e\u200f\ufeff"


def _guess(data: bytes) -> str | None:
    try:
        text = data.decode("cp1252")
        accents = sum(map(str.isalpha, re.sub(r"[\x00-\x7f]", "", text)))
        if _WESTERN.fullmatch(text) and accents <= _ACCENTS_PER_CHARACTER * len(text):
            return "cp1252"
    except UnicodeDecodeError:
        pass  # five bytes mean nothing in it
    if _is_japanese(data[:_HEAD]):
        return "euc_jp"
    sample = data[:_SAMPLE]
    if len(data) > _SAMPLE and b"\n" in sample:
        sample = sample[: sample.rindex(b"\n") + 1]  # not in the middle of a character
    best = from_bytes(sample, cp_exclusion=[*_UNUSUAL]).best()
    if best is not None and len(_HALF_WIDTH.findall(str(best))) > len(str(best)) / 4:
        best = from_bytes(sample, cp_exclusion=[*_UNUSUAL, *_WITH_HALF_WIDTH]).best()
    if best is None:
        return None
    # Two ways to write the same languages that differ in a few letters.
    alike = next((pair for pair in _ALIKE if best.encoding in pair), (best.encoding,))
    return max(alike, key=lambda encoding: sum(map(str.isalpha, sample.decode(encoding, "replace"))))


def _is_japanese(head: bytes) -> bool:
    """Whether this is EUC-JP, which is valid Korean and Chinese too: Japanese is full of kana."""
    text = codecs.getincrementaldecoder("euc_jp")("replace").decode(head)
    return "\ufffd" not in text and 5 * len(_KANA.findall(text)) > sum(char > "\x7f" for char in text)

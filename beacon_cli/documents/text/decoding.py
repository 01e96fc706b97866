"""Text in whatever encoding it was saved."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from beacon_cli.documents.text.prose import BINARY

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
    "[\t\n\f\r -~\xa0àáâãäåæçèéêëìíîïñòóôõöøùúûüÿßœÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŸŒ€‚„…‹›‘’“”•–—™¡¿§©«»®°ª£´·½¼¾×]*"
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
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_ACCENTS_PER_CHARACTER = 0.25


def decode(data: bytes) -> tuple[str, str | None]:
    """The text, and the encoding if that was guessed: a byte order mark or valid UTF-8 leave nothing to guess.

    Raises `ValueError` with the offset of the first byte that is in no UTF-8 if this is no text in any encoding.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strict(data, encoding), None
    if b"\x1b$" in data or b"\x1b(" in data:  # Japanese and Korean mail: escape sequences in seven bits
        for encoding in ("iso2022_jp_2", "iso2022_kr"):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError:
                continue
    if b"\0" in data:
        guessed = guess_utf16(data)
        if guessed is None:
            raise ValueError(data.index(b"\0"))
        return _strict(data, guessed), guessed
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        guess = None if _CONTROL.search(data) else _guess(data)
        text = data.decode(guess, "replace") if guess else "\ufffd"
        if BINARY.search(text):
            raise ValueError(error.start) from error
        return text, guess


def guess_utf16(data: bytes) -> str | None:
    """Which UTF-16 this is, by its start: text of some language, where the bytes swapped are nonsense."""
    head = data[:_HEAD]
    if len(head) % 2:
        return None
    for encoding in ("utf-16-le", "utf-16-be"):
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
        is_latin = head.count(0) > len(head) / 4
        if (is_latin or _SPACES.search(text)) and not BINARY.search(text) and all(map(_is_assigned, text)):
            return encoding
    return None


def _is_assigned(char: str) -> bool:
    return char.isprintable() or char.isspace() or char in "\u200b\u200c\u200d\u200e\u200f\ufeff"


def _strict(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(error.start) from error


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

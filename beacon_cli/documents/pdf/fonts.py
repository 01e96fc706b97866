"""Whether a font tells which letters it draws."""

from __future__ import annotations

import re
from typing import Any, Literal, cast

from pypdf.generic import ArrayObject, DictionaryObject

Told = Literal["told", "collection", "untold"]

# Adobe's character collections, whose numbers stand for known letters.
_COLLECTIONS = ("Japan1", "GB1", "CNS1", "Korea1", "KR")
# The encodings of these that pypdf knows, without their direction of writing.
_KNOWN = {"GB-EUC", "GBpc-EUC", "GBK-EUC", "GBK2K", "ETen-B5", "ETenms-B5", "90ms-RKSJ"}
_KNOWN |= {"UniCNS-UTF16", "UniGB-UTF16", "UniJIS-UTF16"}
# What is no letter of any script: characters for private use, and what stands for an unknown one.
_NO_LETTERS = re.compile("[\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff]")
_MOST_NO_LETTERS = 0.3


def is_told(font: Any) -> Told:
    """Whether the letters of a font's dictionary are told, are numbers of a collection, or neither."""
    if not isinstance(font, DictionaryObject) or font.get("/Subtype") != "/Type0" or "/ToUnicode" in font:
        return "told"
    encoding = str(font.get("/Encoding", "")).removeprefix("/").rpartition("-")[0]
    if encoding in _KNOWN:
        return "told"
    try:
        (descendant, *_) = cast(ArrayObject, font["/DescendantFonts"])
        is_collection = str(descendant.get_object()["/CIDSystemInfo"]["/Ordering"]) in _COLLECTIONS
    except (KeyError, ValueError, TypeError, AttributeError):
        is_collection = False
    return "collection" if is_collection else "untold"


def is_gibberish(text: str, untold: int) -> bool:
    """Whether much of a page's text, `untold` characters of it by their fonts, is none."""
    strange = max(untold, len(_NO_LETTERS.findall(text)))
    return strange > _MOST_NO_LETTERS * len("".join(text.split()))

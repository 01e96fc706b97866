"""Which pages of a document to read: `1-50,60-`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from beacon_cli.errors import SettingsError

_LAST = sys.maxsize
_OCR = "+ocr"
_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:(-)\s*([0-9]{1,9})?\s*)?")


@dataclass(frozen=True)
class PageSelection:
    """Page numbers, counted from 1, as sorted ranges (first, last) that neither overlap nor touch.

    With `ocr`, pages of a PDF that are only images are given to OCR: that is another text.
    """

    ranges: tuple[tuple[int, int], ...]
    ocr: bool = False

    @classmethod
    def parse(cls, text: str) -> PageSelection:
        """Read `7`, `1-50`, `60-` (to the end), comma-separated lists of these, and whatever `canonical` writes.

        Raises `SettingsError` on anything else.
        """
        ranges = []
        for part in text.removesuffix(_OCR).split(","):
            match = _RANGE.fullmatch(part)
            if match is None:
                raise SettingsError(f"--pages {text!r}: {part!r} is no page or range; write it like 1-50,60-")
            first = int(match[1])
            last = int(match[3]) if match[3] else _LAST if match[2] else first
            if first < 1:
                raise SettingsError(f"--pages {text!r}: pages are counted from 1; write it like 1-50,60-")
            if last < first:
                raise SettingsError(f"--pages {text!r}: {part!r} runs backwards; write it like {last}-{first}")
            ranges.append((first, last))
        return replace(cls._merged(ranges), ocr=text.endswith(_OCR))

    @classmethod
    def of(cls, numbers: Iterable[int]) -> PageSelection:
        """Select exactly these pages."""
        return cls._merged((number, number) for number in numbers)

    @classmethod
    def all(cls) -> PageSelection:
        """Select every page there is."""
        return cls(((1, _LAST),))

    @classmethod
    def _merged(cls, ranges: Iterable[tuple[int, int]]) -> PageSelection:
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    @property
    def canonical(self) -> str:
        """The one way to write this selection: equal for `1-3,2-5` and `1-5`. Empty if nothing is selected."""
        return ",".join(
            f"{first}" if first == last else f"{first}-" if last == _LAST else f"{first}-{last}"
            for first, last in self.ranges
        ) + _OCR * (self.ocr and bool(self.ranges))

    def clipped(self, page_count: int) -> PageSelection:
        """The part of the selection that exists in a document of `page_count` pages; may be empty."""
        return PageSelection(
            tuple((first, min(last, page_count)) for first, last in self.ranges if first <= page_count), self.ocr
        )

    def numbers(self) -> Iterator[int]:
        """The selected page numbers in ascending order; without end for a selection that was not clipped."""
        for first, last in self.ranges:
            yield from range(first, last + 1)

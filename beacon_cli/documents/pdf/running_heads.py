"""Heads, feet and page numbers that run through a whole document: found on some of its pages, taken off all.

A head is a line or two that stand apart from the text. What changes from chapter to chapter stays, as it tells where
a page belongs; a line of words stays where it first stands, so that nothing is lost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from beacon_cli.documents.content import RunningHead
from beacon_cli.documents.text.prose import one_line

MOST_SAMPLES = 14
# Lines at the top, and at the bottom, that may be heads.
_DEPTH = 2
_LONGEST = 160
# Found on so many samples (heads of left and right pages differ), which reach over so much of the document.
_FEWEST, _SHARE, _REACH = 3, 1 / 3, 0.6
_NUMBER = re.compile(r"[0-9]{1,5}")
# The ways to count pages: "7", "- 7 -", "Page 7 of 9"; and a title with the number before or after it.
_COUNT = re.compile(
    r"(?i)\W*(?:(?:page|p\.|pg\.|seite|s\.|p[áa]g(?:ina|\.)|стр\.)\s*)?#(?:\s*(?:of|/|von|de|sur|из)\s*#)?\W*"
)
_TITLE_AND_COUNT = re.compile(r"#\W+(?P<before>[^#]+)|(?P<after>[^#]+)\W#")


def sample(page_count: int) -> list[int]:
    """The pages to look at: neighbours, as left and right pages may differ, from all over the document."""
    if page_count <= MOST_SAMPLES:
        return list(range(1, page_count + 1))
    pairs = (MOST_SAMPLES - 4) // 2
    between = [4 + (page_count - 7) * index // pairs for index in range(pairs)]
    return sorted({1, 2, 3, *between, *(page + 1 for page in between), page_count})


def edges(text: str) -> tuple[str, ...]:
    """The lines of a page that may be heads or feet."""
    lines = text.split("\n")
    return tuple(one_line(lines[index], _LONGEST) for index in _edge_positions(lines))


def find(samples: Mapping[int, Sequence[str]]) -> list[RunningHead]:
    """The running heads of a document by the edges of some of its pages."""
    seen: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    for number, lines in sorted(samples.items()):
        keys = {
            (_pattern(line), offset)
            for line in lines
            for offset in (*(value - number for value in _numbers(line)), None)
        }
        for key in keys:
            seen[key].append(number)
    reach = max(samples, default=0) - min(samples, default=0)
    found: dict[str, RunningHead] = {}
    for (pattern, offset), pages in sorted(seen.items(), key=lambda item: -len(item[1])):
        wide = len(pages) >= max(_FEWEST, _SHARE * len(samples)) and pages[-1] - pages[0] >= _REACH * reach
        if not wide:
            continue
        if offset is None and _is_constant(pattern, [samples[page] for page in pages]):
            found.setdefault(pattern, RunningHead(pattern, None, pages[0]))
        elif offset is not None and _COUNT.fullmatch(pattern):
            found.setdefault(pattern, RunningHead(pattern, offset, 0))
        elif offset is not None and _is_title_and_count(pattern):
            found.setdefault(pattern, RunningHead(pattern, offset, pages[0]))
    return list(found.values())


def without(text: str, number: int, heads: Sequence[RunningHead]) -> str:
    """The text of page `number` without the heads at its edges."""
    if not heads:
        return text
    lines = text.split("\n")
    found = {
        index
        for index in _edge_positions(lines)
        if any(_matches(head, one_line(lines[index], _LONGEST), number) for head in heads)
    }
    return "\n".join("" if index in found else line for index, line in enumerate(lines))


def _matches(head: RunningHead, line: str, number: int) -> bool:
    """Whether `line` of page `number` is this head, and to be taken off."""
    if number == head.first or _pattern(line) != head.pattern:
        return False
    return head.offset is None or number + head.offset in _numbers(line)


def _edge_positions(lines: Sequence[str]) -> list[int]:
    """Where the first and last blocks of lines stand, if they are short and not all there is."""
    blocks: list[list[int]] = []
    for index, line in enumerate(lines):
        if line.strip():
            if not index or not blocks or blocks[-1][-1] != index - 1:
                blocks.append([])
            blocks[-1].append(index)
    if len(blocks) < 2:
        return []
    return [index for block in (blocks[0], blocks[-1]) if len(block) <= _DEPTH for index in block]


def _pattern(line: str) -> str:
    return _NUMBER.sub("#", line)


def _numbers(line: str) -> set[int]:
    return {int(found) for found in _NUMBER.findall(line)}


def _is_constant(pattern: str, pages: Sequence[Sequence[str]]) -> bool:
    return "#" not in pattern or len({line for lines in pages for line in lines if _pattern(line) == pattern}) == 1


def _is_title_and_count(pattern: str) -> bool:
    """Two words or more, most of them with capitals: "Chapter #" is a heading, "this is page #" a sentence."""
    found = _TITLE_AND_COUNT.fullmatch(pattern)
    words = [] if found is None else (found["before"] or found["after"]).split()
    return len(words) > 1 and 2 * sum(word[0].isupper() for word in words) > len(words)

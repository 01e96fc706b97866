"""XML as it is found in books and Word files: small mistakes are repaired, nothing is fetched and nothing expanded."""

from __future__ import annotations

import re
from contextlib import suppress
from html.entities import html5

from lxml import etree

_REFERENCE = re.compile(rb"&(#\w{1,10};|\w{1,40};)?")
_XML_NAMES = {b"amp;", b"lt;", b"gt;", b"quot;", b"apos;"}


def parse(data: bytes) -> etree._Element:
    """The root of a document, repaired as far as needed; `ValueError` if there is none."""
    for encoding in (None, "utf-8"):  # the one that it declares, and what it is likely to be
        with suppress(etree.XMLSyntaxError):  # raised where there is nothing to repair
            root = etree.fromstring(_with_plain_references(data), _parser(recover=True, encoding=encoding))
            if root is not None:
                return root
    raise ValueError("it holds no XML")


def parse_strictly(data: bytes) -> etree._Element | None:
    """The root of a well-formed document; None for any other."""
    try:
        return etree.fromstring(_with_plain_references(data), _parser(recover=False))
    except etree.XMLSyntaxError:
        return None


def to_html(root: etree._Element) -> str:
    """The same as HTML source, for what reads that."""
    return str(etree.tostring(root, method="html", encoding="unicode", with_tail=False))


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace; empty for comments and the like."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def named(root: etree._Element, name: str) -> list[etree._Element]:
    """All elements called `name`, in whatever namespace and letter case."""
    return [element for element in root.iter(etree.Element) if local_name(element).lower() == name.lower()]


def _parser(*, recover: bool, encoding: str | None = None) -> etree.XMLParser:
    return etree.XMLParser(recover=recover, encoding=encoding, resolve_entities=False, no_network=True, load_dtd=False)


def _with_plain_references(data: bytes) -> bytes:
    """HTML's names of characters (`&nbsp;`) as numbers, and `&` where it is no reference as `&amp;`."""
    return _REFERENCE.sub(_plain, data) if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else data


def _plain(found: re.Match[bytes]) -> bytes:
    reference = found[1]
    if reference is None:
        return b"&amp;"
    if reference.startswith(b"#") or reference in _XML_NAMES:
        return found[0]
    characters = html5.get(reference.decode("ascii", "replace"))
    return "".join(f"&#{ord(char)};" for char in characters).encode() if characters else b"&amp;" + reference

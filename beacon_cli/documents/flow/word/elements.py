"""Names in Word's XML, the same for strict and transitional files."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from beacon_cli.documents.flow.xml import local_name

_PREFIXES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://purl.oclc.org/ooxml/officeDocument/math": "m",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
}
# What surrounds content without being any.
_WRAPPERS = {"w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo", "w:hyperlink", "w:fldSimple"}
_WRAPPERS |= {"w:dir", "w:bdo"}
_OFF = ("0", "false", "off")


def tag(element: etree._Element) -> str:
    """For instance `w:p`; without a prefix for what is none of Word's own."""
    name = local_name(element)
    namespace = etree.QName(element).namespace if name else None
    prefix = _PREFIXES.get(namespace or "")
    return f"{prefix}:{name}" if prefix else name


def contents(parent: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    """The tags and elements in `parent`, through content controls, links and accepted changes.

    Of the ways to show something only the first is taken. What was deleted or moved away is not among them.
    """
    for child in parent:
        name = tag(child)
        if name == "mc:AlternateContent":
            yield from contents(next(child.iterchildren("{*}Choice", "{*}Fallback"), child))
        elif name in _WRAPPERS:
            yield from contents(child)
        elif name:
            yield name, child


def attribute(element: etree._Element | None, name: str = "val") -> str | None:
    """An attribute of Word's, `w:val` if nothing is said."""
    if element is None:
        return None
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), None)


def first(parent: etree._Element | None, *path: str) -> etree._Element | None:
    """The first element down a path of tags."""
    for name in path:
        parent = None if parent is None else next((child for child in parent if tag(child) == name), None)
    return parent


def is_on(parent: etree._Element | None, name: str) -> bool | None:
    """Whether a property is on; None if nothing is said."""
    found = first(parent, name)
    return None if found is None else (attribute(found) or "1").lower() not in _OFF

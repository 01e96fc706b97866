"""Formulas of web pages in a line of text."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

from beacon_cli.documents.flow import notation

_DISPLAY = "{\\displaystyle"


def formula(math: LexborNode) -> str:
    """A `math` element: in the words or the TeX that it comes with, else put together from its parts."""
    source = math.attributes.get("alttext") or ""
    if not source and (annotation := math.css_first("annotation[encoding='application/x-tex']")) is not None:
        source = annotation.text()
    source = source.strip()
    if source.startswith(_DISPLAY):
        source = source[len(_DISPLAY) :].removesuffix("}").strip()
    if source:
        return source
    try:
        return " ".join(_line(math).split())
    except RecursionError:  # nested as no formula is
        return math.text(separator=" ")


def _line(node: LexborNode) -> str:
    if node.is_text_node:
        return (node.text_content or "").strip()
    parts = [_line(child) for child in node.iter(include_text=True) if child.is_text_node or child.is_element_node]
    first, second, third = (*parts, "", "", "")[:3]
    match node.tag:
        case "annotation" | "annotation-xml":
            return ""
        case "mo":
            return notation.operator(first)
        case "mfrac":
            return f" {notation.fraction(first, second)} "
        case "msup" | "mover":
            return notation.scripts(first, upper=second)
        case "msub" | "munder":
            return notation.scripts(first, lower=second)
        case "msubsup" | "munderover":
            return notation.scripts(first, second, third)
        case "msqrt":
            return f"√{notation.grouped(''.join(parts))}"
        case "mroot":
            return f"{notation.grouped(first)}^(1/{second.strip()})"
        case "mtd":
            return "".join(parts) + " "
        case "mtr":
            return "".join(parts) + "; "
        case _:
            return "".join(parts)

"""Word's formulas in a line of text."""

from __future__ import annotations

from lxml import etree

from beacon_cli.documents.flow import notation
from beacon_cli.documents.flow.word.elements import attribute, contents, first


def formula(element: etree._Element) -> str:
    """An element of Word's mathematics (`m:oMath` and what is in it)."""
    return " ".join(_line(element).split())


def _line(element: etree._Element) -> str:
    return "".join(_piece(name, child) for name, child in contents(element))


def _piece(name: str, element: etree._Element) -> str:
    def part(of: str) -> str:
        found = first(element, of)
        return "" if found is None else _line(found)

    def said(properties: str, mark: str, otherwise: str) -> str:
        value = attribute(first(element, properties, mark))
        return otherwise if value is None else value

    match name:
        case "m:t" | "w:t":
            return "".join(map(notation.operator, element.text or ""))
        case "m:f":
            return f" {notation.fraction(part('m:num'), part('m:den'))} "
        case "m:sSup" | "m:limUpp":
            return notation.scripts(part("m:e"), upper=part("m:sup") or part("m:lim"))
        case "m:sSub" | "m:limLow":
            return notation.scripts(part("m:e"), lower=part("m:sub") or part("m:lim"))
        case "m:sSubSup" | "m:sPre":
            return notation.scripts(part("m:e"), part("m:sub"), part("m:sup"))
        case "m:rad":
            degree, base = part("m:deg").strip(), notation.grouped(part("m:e"))
            return f"{base}^(1/{degree})" if degree else f"√{base}"
        case "m:nary":
            return notation.scripts(said("m:naryPr", "m:chr", "∫"), part("m:sub"), part("m:sup")) + f" {part('m:e')}"
        case "m:d":
            inner = said("m:dPr", "m:sepChr", "|").join(_line(each) for each in element.iterchildren("{*}e"))
            return said("m:dPr", "m:begChr", "(") + inner + said("m:dPr", "m:endChr", ")")
        case "m:func":
            return f"{part('m:fName')} {part('m:e')}"
        case "m:m":
            return "; ".join(" ".join(map(_line, row)) for row in element.iterchildren("{*}mr"))
        case "w:del" | "w:moveFrom":
            return ""
        case _:
            return "" if name.endswith("Pr") else _line(element)

"""Chat templates as transformers renders them, whose import takes a second: Jinja in its sandbox, with some additions.

The fences are transformers' own: neither the type `dict` nor a namespace's underscored names can be reached.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

# What templates that ask for the day are told: see `Tokenizer.render`.
DATE = "26 Jul 2024"


class _Generation(Extension):
    """`{% generation %}` marks what a model says, for training; what stands within is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012  as jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class _Namespace(Namespace):
    """`namespace(…)`, of whose names none begins with an underscore."""

    def __init__(*given: Any, **names: Any) -> None:
        attributes = dict(*given[1:], **names)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(given[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


class _Dict:
    """`dict(…)`, and nothing else of the type."""

    def __call__(self, *given: Any, **names: Any) -> dict[Any, Any]:
        return dict(*given, **names)

    def fromkeys(self, *given: Any) -> dict[Any, Any]:
        return dict.fromkeys(*given)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace has no name like {name!r}")


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = _tojson
    made.globals |= {
        "raise_exception": _raise,
        "strftime_now": lambda format: DATE,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return made


def render(template: str, messages: list[dict[str, str]], **names: Any) -> str:
    """What a template makes of messages (role and content). Raises whatever it raises: it is a program.

    Args:
        names: what else it may know.
    """
    return _compiled(template).render(messages=messages, tools=None, documents=None, **names)


@lru_cache(maxsize=4)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)

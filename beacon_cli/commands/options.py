"""Flags that several commands share. Imports nothing heavy: `--help` needs this."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from beacon_cli.settings import Setting, declared

# The settings that decide which model is loaded, how a document is condensed, and how a question is answered.
LOADING = ("model", "beacon", "beacon_bits", "condense", "device", "threads")
CONDENSING = (*LOADING, "ratio", "system", "cache_bits")
ANSWERING = (
    *LOADING,
    "ratio",
    "max_new_tokens",
    "temperature",
    "passages",
    "recall",
    "system",
    "template",
    "cache_bits",
)
# What `flags` hands to a command: the text of each flag that was given, by the setting's name. See `load_settings`.
Flags = Mapping[str, Any]
# What Ctrl-C leaves of a document that goes into the cache.
KEPT = "what is condensed is kept, and the same command goes on from there"


def flags(owner: type, *names: str, into: str = "flags") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """In place of a command's parameter `flags`, the command line gets the flags of these settings.

    And in place of a parameter that is a `HowToRead`, a flag for each of its fields.

    Args:
        owner: the dataclass that declares them, see `settings.setting`.
        names: which of them.
        into: the parameter's name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        grouped: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            if parameter.name == into:
                parameters.extend(_parameter(declared(owner)[name]) for name in names)
            elif parameter.annotation is HowToRead:
                grouped = dict(inspect.signature(HowToRead).parameters)
                parameters.extend(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in grouped.values())
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in names}
            if grouped:
                given["how"] = HowToRead(**{name: given.pop(name) for name in grouped})
            command(**given, **{into: {name: value for name, value in chosen.items() if value not in (None, [])}})

        # What typer reads in place of the command's own.
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # functions have one
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def option(setting: Setting) -> Any:
    """How typer is told of a setting's flag."""
    pair = setting.kind is bool and setting.flag is None
    shown = _shown(setting)
    return typer.Option(
        f"{setting.option}/--no-{setting.option[2:]}" if pair else setting.option,
        metavar=None if pair else setting.metavar or None,
        help=f"{setting.help} Default: {shown}." if shown else setting.help,
        show_default=False,
        rich_help_panel=setting.panel,
    )


def _shown(setting: Setting) -> str:
    default = setting.default
    if setting.shown is not None or default is None:
        return setting.shown or ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _parameter(setting: Setting) -> inspect.Parameter:
    # A value is handed on as its text: so what is wrong with it is said alike wherever it was written.
    kind: Any = bool | None if setting.kind is bool else list[str] | None if setting.repeated else str | None
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option(setting)]
    )


Documents = Annotated[
    list[str],
    typer.Argument(
        metavar="DOC",
        help="Files, folders (all documents in them), patterns, - for standard input, or a key of `cache list`.",
        show_default=False,
    ),
]
Pages = Annotated[str | None, typer.Option("--pages", metavar="1-50,60-", help="Read only these pages.")]
Password = Annotated[
    str | None,
    typer.Option("--password", envvar="BEACON_PASSWORD", help="Password of an encrypted PDF.", show_envvar=True),
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Condense anew, whatever the cache has.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Keep the condensed document in memory only; write none of it.")
]
Ocr = Annotated[
    bool, typer.Option("--ocr", help="Read pages of PDFs that are only images by OCR (tesseract must be installed).")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


@dataclass(frozen=True)
class HowToRead:
    """Flags that say how documents are read. A command has all of them by a parameter `how`, see `flags`."""

    pages: Pages = None
    password: Password = None
    no_cache: NoCache = False
    refresh: Refresh = False
    ocr: Ocr = False

    @property
    def reading(self) -> dict[str, Any]:
        """What `Model.read` is told beside the documents."""
        told = {name: getattr(self, name) for name in ("pages", "password", "refresh", "ocr")}
        return told | {"cache": not self.no_cache}

    @property
    def kept(self) -> str:
        """What Ctrl-C leaves, see `Console`."""
        return "" if self.no_cache or self.refresh else KEPT

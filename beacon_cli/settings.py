"""Everything that a person can set, declared once: each field of `Settings` says its own name, default, flag and help.

A value comes from the flag, else the environment variable (`BEACON_…`), else the configuration file, else the default.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import platformdirs

from beacon_cli.errors import SettingsError
from beacon_cli.quantities import parse_size

Device = Literal["auto", "cpu", "cuda"]
Condense = Literal["beacon", "scorer", "select"]
SummaryBy = Literal["auto", "model", "sentences"]
# 16 is the type that activations were computed in, unchanged (float32 on the CPU); 8 and 4 are rounded by group.
CACHE_BITS = (16, 8, 4)
# Variables that are no settings: what is a secret, or where things are.
VARIABLES = (
    "BEACON_CACHE_DIR",
    "BEACON_CONFIG",
    "BEACON_DEBUG",
    "BEACON_MODELS_DIR",
    "BEACON_PASSWORD",
    "BEACON_STATE_DIR",
    "BEACON_TOKEN",
)

_KINDS = {str: "text", int: "whole number", float: "number", bool: "truth value"}
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: how it is written, and what it may be.

    Attributes:
        name: its key in a configuration file; the environment variable is BEACON_ and the name in capitals.
        kind: str, int, float or bool; of a list, that of its items.
        many: whether it is a list.
        default: None if something else decides.
        metavar, help, panel: for `--help`.
        shown: what `--help` says of the default, if not the default itself.
        flag: by default, the name with hyphens (--no- before it for false); "" for none.
        none: the word that stands for None.
        choices, least, most: what it may be (a list: each item).
        read: text to value, for what is not written as its kind is (a list: each item).
        like: an example of a list.
    """

    name: str = ""
    kind: type = str
    many: bool = False
    default: Any
    metavar: str
    help: str
    panel: str | None = None
    shown: str | None = None
    flag: str | None = None
    none: str | None = None
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    read: Callable[[str], Any] | None = None
    like: str | None = None

    @property
    def option(self) -> str:
        """The flag, as it is typed."""
        return f"--{self.name.replace('_', '-')}" if self.flag is None else self.flag

    @property
    def repeated(self) -> bool:
        """Whether the flag is given once for each item of a list; else commas stand between them."""
        return self.many and self.default == ()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"BEACON_{self.name.upper()}"

    def from_text(self, text: str, where: str) -> Any:
        """The value that a flag or an environment variable says.

        Args:
            where: it stands; for the message.

        Raises:
            SettingsError: for what it cannot be.
        """
        if self.none is not None and text.strip().lower() == self.none:
            return None
        try:
            value = tuple(map(self._item, text.split(","))) if self.many else self._item(text)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
        except (KeyError, ValueError):
            raise self._refusal(text, where) from None
        return self.check(value, where)

    def from_value(self, value: Any, where: str) -> Any:
        """The value that a file or a program gives, of exactly the right type: 2.9 is no whole number, nor is true.

        Raises:
            SettingsError: for what it cannot be.
        """
        if isinstance(value, str) and (self.read or self.none):
            return self.from_text(value, where)
        if self.many and isinstance(value, list | tuple) and all(type(item) is self.kind for item in value):
            return self.check(tuple(value), where)
        if self.kind is float and type(value) is int:
            value = float(value)
        if self.many or type(value) is not self.kind:
            raise self._refusal(value, where)
        return self.check(value, where)

    def check(self, value: Any, where: str) -> Any:
        """`value`, if it is allowed.

        Raises:
            SettingsError: if it is not.
        """
        if value is None and self.default is None:
            return value
        for item in value if self.many else (value,):
            if (
                (self.choices and item not in self.choices)
                or (self.least is not None and not item >= self.least)
                or (self.most is not None and not item <= self.most)
            ):
                raise self._refusal(item, where)
        return value

    def _item(self, text: str) -> Any:
        if self.read is not None:
            return self.read(text)
        text = text.strip()
        return _TRUTHS[text.lower()] if self.kind is bool else self.kind(text)

    def _refusal(self, value: Any, where: str) -> SettingsError:
        if self.choices:
            wanted = f"choose one of {', '.join(map(str, self.choices))}"
        else:
            least, most = (f"{n:,}" if isinstance(n, int) else f"{n:g}" for n in (self.least or 0, self.most or 0))
            span = (
                "" if self.least is None else f" from {least} on" if self.most is None else f" from {least} to {most}"
            )
            kind = _KINDS[self.kind]
            wanted = f"give {kind}s{span}, like {self.like or self.metavar}" if self.many else f"give a {kind}{span}"
        also = f", or {self.none}" if self.none else ""
        return SettingsError(f"{where} is {value!r}; {wanted}{also}")


def setting(default: Any, metavar: str, help: str, **more: Any) -> Any:
    """A field of a dataclass that is a setting, see `Setting`."""
    return field(default=default, metadata={"setting": Setting(default=default, metavar=metavar, help=help, **more)})


@cache
def declared(owner: type) -> dict[str, Setting]:
    """The settings that a dataclass declares, by name."""
    hints, found = get_type_hints(owner), {}
    for each in fields(owner):
        if "setting" in each.metadata:
            kind, one = hints[each.name], each.metadata["setting"]
            if get_origin(kind) in (Union, UnionType):
                kind = get_args(kind)[0]
            many = get_origin(kind) is tuple
            kind = get_args(kind)[0] if many else kind
            if get_origin(kind) is Literal:
                one, kind = replace(one, choices=get_args(kind)), type(get_args(kind)[0])
            found[each.name] = replace(one, name=each.name, kind=kind, many=many)
    return found


class Checked:
    """A dataclass of settings; values that cannot be are refused when it is made."""

    def __post_init__(self) -> None:
        owner: type = type(self)
        for name, each in declared(owner).items():
            each.check(getattr(self, name), name)


@dataclass(frozen=True)
class Settings(Checked):
    """What has a flag, a variable and a key in the configuration file.

    Raises:
        SettingsError: for a value that cannot be used.
    """

    model: str = setting(
        "smollm2-135m",
        "MODEL",
        "A folder, a GGUF file, a hub id or a short name, see `models list`.",
    )
    beacon: str | None = setting(
        None, "BEACON", "Its beacon: a folder or a hub id.", shown="the folder beacon in the model's"
    )
    beacon_bits: int | None = setting(
        None,
        "16|4",
        "Bits of the beacon's own weights; 4 takes a quarter of the memory.",
        shown="as they are stored; 16 when a model is converted",
        none="auto",
        choices=(16, 4),
    )
    condense: Condense | None = setting(
        None,
        "beacon|scorer|select",
        "What condenses: a beacon trained for the model, selection of what it read by a scorer fitted to it, or by "
        "asking it to say that again, which any model can do.",
        shown="what was measured to keep most, else a beacon, a scorer or select, as there is",
        none="auto",
    )
    device: Device = setting("auto", "auto|cpu|cuda", "Where to compute.")
    threads: int | None = setting(
        None,
        "N|auto",
        "Threads that compute on the CPU.",
        shown="as many as there are processors to use",
        none="auto",
        least=1,
        most=1024,
    )
    ratio: int | None = setting(
        None,
        "N|auto",
        "Condensing ratio; auto takes the smallest that fits.",
        shown="auto",
        none="auto",
        least=1,
    )
    max_new_tokens: int = setting(256, "N", "Longest answer.", least=1)
    temperature: float = setting(0.0, "T", "0 always takes the likeliest token.", least=0, most=100)
    passages: int | None = setting(
        None,
        "N|auto",
        "Passages of the document to read again before answering; 0 answers from the condensed memory alone.",
        shown="as many as a sixteenth of the model's context holds, at least 2",
        none="auto",
        least=0,
    )
    recall: int = setting(
        4,
        "N",
        "Of the memory, read what surrounds so many of the passages that the question is about; 0 reads all of it, as "
        "is always done with what a beacon condensed, and where passages alone gave no answer.",
        least=0,
    )
    summary_by: SummaryBy = setting(
        "auto",
        "auto|model|sentences",
        "What makes a summary: the model, or sentences of the text; auto asks the model unless it is too weak for it.",
        flag="--by",
    )
    summary_length: int | None = setting(
        None, "WORDS", "About how long.", shown="a few sentences", flag="--length", none="auto", least=10, most=10_000
    )
    system: str | None = setting(
        None,
        "TEXT",
        "Message to the model in front of the documents, which are condensed anew with it.",
        shown="what its chat template has",
    )
    template: str | None = setting(
        None,
        "TEXT",
        "How to put the question: words with {question} in them, and {passages} for what is read again.",
        shown="Question: {question}, after words that suit the model, with the passages before it",
    )
    log: bool = setting(True, "true|false", "Keep questions and answers on this machine, for `beacon logs`.")
    cache_bits: int = setting(
        16,
        "16|8|4",
        "Bits of a stored activation; 8 and 4 take less disk than 16, and blur them.",
        choices=CACHE_BITS,
    )
    cache_limit: int | None = setting(
        None,
        "SIZE",
        "Bytes that all caches may take, like 2GB; what was used longest ago goes first.",
        shown="no limit",
        least=0,
        read=parse_size,
    )


DEFAULTS = Settings()


@dataclass(frozen=True)
class Origin:
    """A setting's value, and where it comes from."""

    value: Any
    where: str


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Settings from all places; flags that are None were not given.

    Raises:
        SettingsError: for unknown keys and unusable values, naming where they stand.
    """
    return Settings(**{name: origin.value for name, origin in trace_settings(flags).items()})


def trace_settings(flags: Mapping[str, Any]) -> dict[str, Origin]:
    """Every setting by name, with where it comes from; see `load_settings`."""
    path = config_path()
    found = {name: Origin(each.default, "default") for name, each in declared(Settings).items()}
    for name, value in read_settings(path, Settings).items():
        found[name] = Origin(value, str(path))
    for name, each in declared(Settings).items():
        if text := os.environ.get(each.variable):
            found[name] = Origin(each.from_text(text, each.variable), each.variable)
    return found | {name: Origin(value, "flag") for name, value in read_flags(flags, Settings).items()}


def read_flags(flags: Mapping[str, Any], owner: type) -> dict[str, Any]:
    """The values of those flags that were given.

    Raises:
        SettingsError: for unusable values.
    """
    values = {}
    for name, given in flags.items():
        if given is not None:
            each = declared(owner)[name]
            read = each.from_text if isinstance(given, str) else each.from_value
            values[name] = read(given, each.option or name)
    return values


def read_settings(path: Path, owner: type) -> dict[str, Any]:
    """The values in a TOML file; none if it is the user's configuration file, which need not be there.

    Raises:
        SettingsError: if it cannot be read, and for unknown keys and unusable values.
    """
    try:
        return check_values(tomllib.loads(path.read_text(encoding="utf-8")), str(path), owner)
    except FileNotFoundError:
        if path == _user_path():
            return {}
        raise SettingsError(f"{path} cannot be read: no such file; correct its name") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); correct or remove it") from None


def check_values(values: Mapping[str, Any], where: str, owner: type) -> dict[str, Any]:
    """The settings that a TOML table says.

    Raises:
        SettingsError: for unknown keys and unusable values.
    """
    table = declared(owner)
    for name in values:
        if name not in table:
            raise SettingsError(f"{where}: unknown setting {name!r}{nearest(name, table)}; known: {', '.join(table)}")
    return {name: table[name].from_value(value, f"{where}: {name}") for name, value in values.items()}


def config_path() -> Path:
    """The configuration file: `BEACON_CONFIG`, else `config.toml` in the user's configuration folder."""
    named = os.environ.get("BEACON_CONFIG")
    return Path(named).expanduser() if named else _user_path()


def unknown_variables() -> list[str]:
    """A line for each variable of the environment that looks like one of this tool's and is none."""
    known = [*VARIABLES, *(each.variable for each in declared(Settings).values())]
    strange = sorted(name for name in os.environ if name.startswith("BEACON_") and name not in known)
    return [f"the environment variable {name} means nothing to beacon{nearest(name, known)}" for name in strange]


def nearest(name: str, known: Any) -> str:
    """A hint at the most similar of the known names: "; did you mean …?", or nothing if none is similar."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _user_path() -> Path:
    return platformdirs.user_config_path("beacon", appauthor=False) / "config.toml"

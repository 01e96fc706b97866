"""`beacon`: read a whole document once, keep it condensed, and answer questions about it.

    import beacon_cli as beacon

    model = beacon.load()
    book = model.read("book.pdf", progress=print)
    answer = book.ask("Who is the narrator?")
    print(answer.text, answer.supported, answer.citations)

Importing this is light: what needs torch is imported when one of its names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from beacon_cli.version import __version__

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.answering.citations import Citation
    from beacon_cli.answering.passages import Passage
    from beacon_cli.answering.texts import Texts, open_texts
    from beacon_cli.errors import BeaconError
    from beacon_cli.library import Memory, Model, load

__all__ = [
    "Answer",
    "BeaconError",
    "Citation",
    "Memory",
    "Model",
    "Passage",
    "Texts",
    "__version__",
    "load",
    "open_texts",
]

_HOMES = {
    "Answer": "beacon_cli.answering.answer",
    "BeaconError": "beacon_cli.errors",
    "Citation": "beacon_cli.answering.citations",
    "Memory": "beacon_cli.library",
    "Model": "beacon_cli.library",
    "Passage": "beacon_cli.answering.passages",
    "Texts": "beacon_cli.answering.texts",
    "load": "beacon_cli.library",
    "open_texts": "beacon_cli.answering.texts",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

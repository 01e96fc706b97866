"""Lines that a person types, edited and remembered, or lines out of a pipe."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from beacon_cli.logs import state_dir

if TYPE_CHECKING:
    from prompt_toolkit.history import History

PROMPT = "> "


def line_reader(*, keep: bool) -> Callable[[], str | None]:
    """A function that returns the next line of standard input, and None after the last.

    Args:
        keep: what a person typed, for the next time.
    """
    if not sys.stdin.isatty():
        return lambda: sys.stdin.readline() or None
    # Imported here because a pipe can do without.
    from prompt_toolkit import PromptSession  # noqa: PLC0415  as above

    session: PromptSession[str] = PromptSession(history=_history(keep))

    def ask() -> str | None:
        while True:
            try:
                return session.prompt(PROMPT)
            except KeyboardInterrupt:  # the line is dropped
                continue
            except EOFError:
                return None

    return ask


def _history(keep: bool) -> "History":
    """What was typed before, kept for its owner only; where it cannot be kept, for this time."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415  as in `line_reader`

    if not keep:
        return InMemoryHistory()
    path = state_dir() / "chat_history"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        return FileHistory(str(path))
    return InMemoryHistory()

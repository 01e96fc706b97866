"""`beacon chat`."""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beacon_cli.commands import options
from beacon_cli.commands.answers import answering, finish, load_model, read, show
from beacon_cli.console.console import Console
from beacon_cli.console.prompting import line_reader
from beacon_cli.console.text import plain
from beacon_cli.documents.opening import opening_ahead
from beacon_cli.errors import BeaconError, OutputError, SettingsError
from beacon_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.answering.chat import Chat
    from beacon_cli.library import Memory, Model

HELP = """\
/pages       where the last answer stands
/passages    what the last question is about
/save FILE   write the conversation to a file (Markdown)
/new         begin a new conversation
/quit        leave (Ctrl-D does too; Ctrl-C stops an answer)"""

# What begins markup of HTML, a link or a picture; a document may hold any, and a viewer of Markdown would fetch it.
_NO_MARKUP = re.compile(r"[\\<&[]")


@options.flags(Settings, *options.ANSWERING, "log")
def chat(
    documents: options.Documents,
    *,
    flags: options.Flags,
    how: options.HowToRead,
    quiet: options.Quiet = False,
) -> None:
    """Talk about one or several documents: the model stays loaded, and knows what was said before."""
    settings = load_settings(flags)
    if "-" in documents:
        raise SettingsError("chat reads its questions from standard input; name the documents as files")
    with Console(quiet=quiet, kept=how.kept) as console, opening_ahead(documents):
        asked = answering(settings)
        model = load_model(settings, console, documents)
        memory = read(model, documents, "", settings, how, console)
    console = Console(quiet=quiet)
    if sys.stdin.isatty():
        console.note("ask about what was read; /help shows what else can be said, Ctrl-D leaves")
    _Talk(model, memory, memory.chat(**asked), console, log=settings.log).go_on(line_reader(keep=settings.log))


class _Talk:
    """Questions and commands, one a line, until there are no more."""

    def __init__(self, model: "Model", memory: "Memory", chat: "Chat", console: Console, *, log: bool) -> None:
        self._model, self._memory, self._chat, self._console, self._log = model, memory, chat, console, log
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda rest: console.print_line(HELP),
            "/pages": self._pages,
            "/passages": self._passages,
            "/save": self._save,
            "/new": lambda rest: self._chat.new(),
        }

    def go_on(self, next_line: Callable[[], str | None]) -> None:
        """Take line after line; what goes wrong with one is said, and the next is taken."""
        while (line := next_line()) is not None:
            command, _, rest = line.strip().partition(" ")
            if command == "/quit":
                return
            try:
                if command in self._commands:
                    self._commands[command](rest.strip())
                elif command.startswith("/"):
                    raise SettingsError(f"{command} is no command; /help lists them")
                elif command:
                    self._ask(line.strip())
            except OutputError:
                raise
            except BeaconError as error:
                self._console.error(str(error))

    def _ask(self, question: str) -> None:
        answer = self._chat.ask(question)
        try:
            show(self._console, self._memory, answer)
        except KeyboardInterrupt:
            answer.stop()
            self._console.note("stopped")
            return
        finish(self._console, self._model, self._memory, answer, log=self._log)

    def _last(self) -> Any:
        whole = [answer for answer in self._chat.answers if answer.whole]
        if not whole:
            raise SettingsError("nothing was answered yet; ask something first")
        return whole[-1]

    def _pages(self, rest: str) -> None:
        self._console.print_places(self._last(), self._memory.documents)

    def _passages(self, rest: str) -> None:
        answer = self._last()
        self._console.print_passages(answer.found, self._memory.texts, answer.question)

    def _save(self, rest: str) -> None:
        if not rest:
            raise SettingsError("name a file: /save talk.md")
        path = Path(rest).expanduser()
        parts = [f"# {', '.join(document.name for document in self._memory.documents)}"]
        for answer in (each for each in self._chat.answers if each.whole):
            places = [f"- {c.document}, p. {c.label or c.page}: “{c.quote}”" for c in answer.citations]
            said = answer.text if answer.answered else f"(no answer) {answer.text}"
            parts += [f"**{answer.question}**", said, *(["\n".join(places)] if places else [])]
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(_NO_MARKUP.sub(r"\\\g<0>", plain("\n\n".join(parts))) + "\n")
        except FileExistsError:
            raise SettingsError(f"{path} is there already; name another file") from None
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise SettingsError(f"{path} cannot be written ({error.strerror}); name another file") from None
        self._console.note(f"saved: {path}")

"""The command line's root, and the only place where an error becomes an exit code."""

import errno
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from beacon_cli.checkpoints.threads import wait_briefly
from beacon_cli.commands import ask, cache, chat, config, doctor, find, inspect, logs, models, serve, summarize, train
from beacon_cli.commands import eval as eval_command
from beacon_cli.console.console import Console, InterruptedByUserError, cannot_write, close_output
from beacon_cli.console.text import plain
from beacon_cli.errors import BeaconError, SettingsError
from beacon_cli.settings import unknown_variables
from beacon_cli.version import __version__

FAILED, USAGE, INTERRUPTED = 1, 2, 130
# New objects after which Python looks for garbage. Imports make some hundred thousand that all stay; to look through
# them again and again takes a tenth of a second.
COLLECT_AFTER = 100_000
_UsageError: Any = typer.BadParameter.__mro__[1]  # click's, of which typer has a copy of its own, or not


class Group(TyperGroup):
    """Lets Ctrl-C through to `main`, which has an exit code for it; typer shows what is wrong with arguments."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _fit_for_terminals():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _fit_for_terminals():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUserError("interrupted") from None


@contextmanager
def _fit_for_terminals() -> Iterator[None]:
    """What typer is to say of an argument repeats it: nothing of that may be obeyed by a terminal."""
    try:
        yield
    except _UsageError as error:
        error.message = plain(error.message)
        raise


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Read a whole book once, keep it condensed, and ask about it.",
)
app.command("ask")(ask.ask)
app.command("chat")(chat.chat)
app.command("summarize")(summarize.summarize)
app.command("find")(find.find)
app.command("serve")(serve.serve)
app.command("logs")(logs.logs)
app.command("doctor")(doctor.doctor)
app.command("inspect")(inspect.inspect)
app.command("eval")(eval_command.evaluate)
app.command("train")(train.train)
app.add_typer(cache.app, name="cache")
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")


def _show_version(wanted: bool) -> None:
    if wanted:
        Console().print_line(f"beacon {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read a whole book once, keep it condensed, and ask about it."""
    # The flag is the command's, whose arguments are not read yet.
    if not {"-q", "--quiet"} & set(sys.argv):
        for line in unknown_variables():
            Console().note(f"note: {line}")


def main() -> None:
    """Run the command line; never shows a traceback unless `BEACON_DEBUG` is 1."""
    wait_briefly()
    gc.set_threshold(COLLECT_AFTER)
    try:
        app(prog_name="beacon")
    except InterruptedByUserError as error:
        Console().error(str(error))
        sys.exit(INTERRUPTED)
    except BeaconError as error:
        if os.environ.get("BEACON_DEBUG") == "1":
            raise
        Console().error(" ".join(str(error).split()))
        sys.exit(USAGE if isinstance(error, SettingsError) else FAILED)
    except Exception as error:  # whatever it is, its user gets one line
        if os.environ.get("BEACON_DEBUG") == "1":
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # of what typer prints itself, like --help
            close_output()
            Console().error(cannot_write(error))
        else:  # a defect of this tool: a way to a report
            Console().error(
                f"beacon failed unexpectedly ({type(error).__name__}: {' '.join(str(error).split())[:200]}); "
                "run it again with BEACON_DEBUG=1 and report what it prints"
            )
        sys.exit(FAILED)
    finally:
        gc.freeze()  # what is left ends with the process: Python would look for garbage in it, for 0.3 s

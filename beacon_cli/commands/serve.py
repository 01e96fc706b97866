"""`beacon serve`."""

import os
import socket
from ipaddress import ip_address
from typing import Annotated

import typer

from beacon_cli.commands import options
from beacon_cli.commands.answers import answering, load_model
from beacon_cli.console.console import Console
from beacon_cli.errors import ModelError, SettingsError
from beacon_cli.quantities import counted
from beacon_cli.settings import Settings, load_settings

_LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")


@options.flags(Settings, *(name for name in options.ANSWERING if name != "template"))
def serve(
    documents: options.Documents,
    *,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8321,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="BEACON_TOKEN", help="What requests must bring; a must beyond this machine."),
    ] = None,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=1, help="Documents that stay in memory.")] = 4,
    queue: Annotated[int, typer.Option("--queue", metavar="N", min=1, help="Requests that may wait.")] = 16,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=1, help="Seconds for an answer.")] = 600,
    flags: options.Flags,
    quiet: options.Quiet = False,
) -> None:
    """Answer about documents over HTTP, as OpenAI's API does: /v1/chat/completions, /v1/models.

    A request names its document as the model, beacon:book.pdf, or several in a field "documents"; beacon alone is
    all of them. A document is condensed when it is first asked about; `beacon cache build` does it ahead.
    """
    settings = load_settings(flags)
    local = host in _LOCAL or _is_loopback(host)
    if not local and not token:
        raise SettingsError(
            f"--host {host} lets others ask; name a token they must bring, with --token or BEACON_TOKEN"
        )
    if "-" in documents:
        raise SettingsError("serve cannot read a document from standard input; name files or folders")
    # Imported here because it takes time that `--help` can do without.
    from beacon_cli.documents.finding import find_documents  # noqa: PLC0415  as above

    places = find_documents(documents)
    answering(settings)
    try:
        import uvicorn  # noqa: PLC0415  as above

        from beacon_cli.serving.server import Limits, make_app  # noqa: PLC0415  as above
        from beacon_cli.serving.shelf import Shelf  # noqa: PLC0415  as above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise ModelError("the server needs two packages more: pip install 'beacon-cli[serve]'") from None

    with Console(quiet=quiet) as console:
        listening = _listen(host, port)
        model = load_model(settings, console)
        _ = model.engine  # loaded now, and what is wrong with it said now
        shelf = Shelf(model, places, settings, keep)
        hosts = (*_LOCAL, host) if local else ("*",)
        app = make_app(shelf, settings, Limits(queue, timeout, token, hosts))
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/v1"
        console.note(f"serving {counted(len(shelf.names), 'document')} at {url} (Ctrl-C stops)")
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SettingsError(f"cannot listen on {host}:{port} ({reason}); name another --port or --host") from error

"""`beacon serve`."""

import os
import socket
from importlib.util import find_spec
from ipaddress import ip_address
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beacon_cli.commands import options
from beacon_cli.commands.answers import answering, load_model
from beacon_cli.console.console import Console
from beacon_cli.documents.finding import find_documents
from beacon_cli.errors import ModelError, SettingsError
from beacon_cli.logs import state_dir
from beacon_cli.quantities import counted, parse_size
from beacon_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.serving.worker import Worker

_LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")


@options.flags(Settings, *(name for name in options.ANSWERING if name != "template"))
def serve(
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="DOC", help="Files, folders (all documents in them), patterns.", show_default=False),
    ] = None,
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
    upload_limit: Annotated[
        str, typer.Option("--upload-limit", metavar="SIZE", help="Largest document to be dropped on the page; 0: none.")
    ] = "200MB",
    flags: options.Flags,
    password: options.Password = None,
    ocr: options.Ocr = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer about documents over HTTP: on a page in the browser, and as OpenAI's API does.

    The page takes further documents, which stay until they are removed there. For programs, a request names its
    document as the model, beacon:book.pdf, or several in a field "documents"; beacon alone is all of them. A document
    is condensed when it is first asked about; `beacon cache build` does it ahead.
    """
    settings, most = load_settings(flags), parse_size(upload_limit)
    local = host in _LOCAL or _is_loopback(host)
    _refuse(documents or [], host, local or bool(token), most)
    places = find_documents(documents or ())
    answering(settings)
    _need_packages()
    # Imported here because it takes time that `--help` can do without.
    from beacon_cli.serving.http import Limits  # noqa: PLC0415  as above
    from beacon_cli.serving.server import make_app  # noqa: PLC0415  as above
    from beacon_cli.serving.shelf import HowToRead, Shelf  # noqa: PLC0415  as above
    from beacon_cli.serving.uploads import Uploads  # noqa: PLC0415  as above
    from beacon_cli.serving.worker import Worker  # noqa: PLC0415  as above

    with Console(quiet=quiet) as console:
        listening = _listen(host, port)
        uploads = Uploads(state_dir() / "documents", most)
        dropped = uploads.places()
        model = load_model(settings, console)
        _ = model.engine  # loaded now, and what is wrong with it said now
        shelf = Shelf(model, [*places, *dropped], settings, keep, HowToRead(password, ocr))
        worker = Worker(queue)
        limits = Limits(timeout, token, (*_LOCAL, host) if local else ("*",))
        app = make_app(shelf, settings, limits, uploads, worker)
        url = _url(host, listening)
        served = counted(len(shelf.names), "document") + (f" ({len(dropped)} dropped before)" if dropped else "")
        console.note(f"serving {served}: {url} in a browser, {url}/v1 for programs (Ctrl-C stops)")
        _run(app, listening, worker)


def _run(app: Any, listening: socket.socket, worker: "Worker") -> None:
    """Serve until Ctrl-C."""
    import uvicorn  # noqa: PLC0415  as above

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            worker.stop()  # what is being done ends, and whoever waits for it is told
            super().handle_exit(sig, frame)

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, lifespan="off")
    try:
        Server(config).run(sockets=[listening])
    finally:
        worker.stop()
        worker.join()


def _refuse(documents: list[str], host: str, guarded: bool, most: int) -> None:
    """Raises SettingsError for what cannot be served, or must not be without a token."""
    if not guarded:
        raise SettingsError(
            f"--host {host} lets others ask; name a token they must bring, with --token or BEACON_TOKEN"
        )
    if "-" in documents:
        raise SettingsError("serve cannot read a document from standard input; name files or folders")
    if not documents and not most:
        raise SettingsError("name a document, or let some be dropped on the page (--upload-limit)")


def _need_packages() -> None:
    """Raises ModelError if what the extra `serve` installs is not there."""
    if not all(map(find_spec, ("starlette", "uvicorn"))):
        raise ModelError("the server needs two packages more: pip install 'beacon-cli[serve]'")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _url(host: str, listening: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def _listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SettingsError(f"cannot listen on {host}:{port} ({reason}); name another --port or --host") from error

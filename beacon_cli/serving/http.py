"""What all routes share: who may ask, bodies with a bound, server-sent events, errors as OpenAI's API has them."""

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beacon_cli.errors import DocumentError, SettingsError
from beacon_cli.serving.requests import RequestError
from beacon_cli.serving.shelf import NotHereError

Endpoint = Callable[[Request], Awaitable[Response]]
MOST_BYTES = 2**20
# Of a page of ours: no script, style, picture or request from or to anywhere else, and no frame around it. pdf.js
# decodes pictures by WebAssembly and puts letters and pictures of a PDF in by blob.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "font-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    Attributes:
        seconds: that a request may take, waiting included.
        token: that a request must bring; None for none.
        hosts: names that the server may be called by; "*" for any.
    """

    seconds: float
    token: str | None
    hosts: tuple[str, ...]

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint` for who brings the token, and for no page of another site; others get a `RequestError`."""

        async def answer(request: Request) -> Response:
            if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                raise RequestError("a page of another site may not ask here", status=403, code="forbidden")
            given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
            if self.token is not None and not secrets.compare_digest(given.encode(), self.token.encode()):
                said = "the token is missing or wrong (Authorization: Bearer …)"
                raise RequestError(said, status=401, code="invalid_api_key")
            return await endpoint(request)

        return answer


class Protected:
    """Adds to every answer what browsers hold a page to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


async def json_body(request: Request) -> Any:
    """The body of a request.

    Raises:
        RequestError: if it is no JSON, not said to be, or too large.
    """
    # Another type than this one, or none, is what a form of another site could send.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError("the body is no application/json", status=415)
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BYTES:
            raise RequestError(f"the body has more than {MOST_BYTES:,} bytes", status=413)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise RequestError("the body is no JSON") from None


def event(value: Any) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value)}\n\n".encode()


def as_request_error(error: Exception) -> RequestError:
    """What a request is answered that ended so: by a `RequestError` or a `BeaconError`."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, NotHereError):
        return RequestError(str(error), status=404, code="model_not_found")
    if isinstance(error, SettingsError | DocumentError):
        return RequestError(str(error), code="invalid_request")
    return RequestError(str(error), status=500, code="server_error")


def as_json(error: RequestError) -> dict[str, Any]:
    """An error as OpenAI's API has it."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a `RequestError` or a `BeaconError`."""
    error = as_request_error(error)
    headers = {"Retry-After": "5"} if error.status in (429, 503) else {}
    return JSONResponse(as_json(error), status_code=error.status, headers=headers)


async def not_found(request: Request, error: Exception) -> Response:
    """The answer where there is nothing."""
    status = getattr(error, "status_code", 404)
    message = f"there is no {request.method} {request.url.path} here"
    return JSONResponse(as_json(RequestError(message, status=status)), status_code=status)


async def failed(request: Request, error: Exception) -> Response:
    """The answer to a defect: what it is stands in the server's log, and in no answer."""
    return JSONResponse(as_json(RequestError("the server failed; see its log", status=500)), status_code=500)

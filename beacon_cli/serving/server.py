"""The HTTP server: `/v1/chat/completions` and `/v1/models` as OpenAI's API has them, about the documents on a shelf."""

import asyncio
import json
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from beacon_cli.answering.answer import Answer
from beacon_cli.errors import BeaconError, DocumentError, SettingsError
from beacon_cli.library import Memory
from beacon_cli.serving.requests import MODEL, Completion, RequestError, parse
from beacon_cli.serving.shelf import Shelf
from beacon_cli.serving.worker import QueueFullError, Worker
from beacon_cli.settings import Settings

MOST_BYTES = 2**20


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    Attributes:
        queue: requests that may wait or be answered at once.
        seconds: that one may take, waiting included.
        token: that a request must bring; None for none.
        hosts: names that the server may be called by; "*" for any.
    """

    queue: int
    seconds: float
    token: str | None
    hosts: tuple[str, ...]


def make_app(shelf: Shelf, settings: Settings, limits: Limits) -> Starlette:
    """The application; its worker ends with the process."""
    server = _Server(shelf, settings, limits)
    routes = [
        Route("/v1/chat/completions", server.complete, methods=["POST"]),
        Route("/v1/models", server.models),
        Route("/v1/models/{name:path}", server.model),
        Route("/health", server.health),
    ]
    # A page of another site cannot ask under a name of its own that leads here.
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(limits.hosts), www_redirect=False)
    return Starlette(
        routes=routes,
        middleware=[trusted],
        exception_handlers={404: _not_found, 405: _not_found, RequestError: _refused, Exception: _failed},
    )


class _Server:
    def __init__(self, shelf: Shelf, settings: Settings, limits: Limits) -> None:
        self._shelf, self._settings, self._limits = shelf, settings, limits
        self._worker = Worker(limits.queue)
        self._began = int(time.time())

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(self, request: Request) -> Response:
        self._check_token(request)
        return JSONResponse({"object": "list", "data": [self._about(name) for name in self._names()]})

    async def model(self, request: Request) -> Response:
        self._check_token(request)
        name = request.path_params["name"]
        if name not in self._names():
            raise RequestError(f"there is no model {name!r} here", status=404, param="model", code="model_not_found")
        return JSONResponse(self._about(name))

    async def complete(self, request: Request) -> Response:
        self._check_token(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestError("the body is no application/json", status=415)
        asked = parse(await _body(request))
        if asked.documents is None and len(self._shelf.names) > 1 and asked.model != MODEL:
            raise RequestError(f"there is no model {asked.model!r} here", status=404, code="model_not_found")
        try:
            names = self._shelf.check(self._shelf.names if asked.documents is None else asked.documents)
        except DocumentError as error:
            raise RequestError(str(error), status=404, param="model", code="model_not_found") from error
        events = self._events(asked, names)
        # What goes wrong before the first piece has a status of its own.
        end = time.monotonic() + self._limits.seconds
        first = await self._next(events, end)
        if asked.stream:
            chunks = _chunks(asked, first, events)
            return StreamingResponse(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        async with aclosing(events):
            while not isinstance(first, _Done):
                if await request.is_disconnected():
                    return Response(status_code=499)
                first = await self._next(events, end)
        return JSONResponse(_whole(asked, first))

    async def _next(self, events: "AsyncGenerator[str | _Done, None]", end: float) -> "str | _Done":
        try:
            return await asyncio.wait_for(anext(events), max(end - time.monotonic(), 0.001))
        except TimeoutError:
            raise RequestError(
                f"no answer within {self._limits.seconds:g} seconds; ask again later", status=503, code="timeout"
            ) from None
        except QueueFullError:
            raise RequestError(
                f"{self._limits.queue} requests are waiting already; ask again later", status=429,
                code="rate_limit_exceeded",
            ) from None  # fmt: skip
        except (SettingsError, DocumentError) as error:
            raise RequestError(str(error), code="invalid_request") from error
        except BeaconError as error:
            raise RequestError(str(error), status=500, code="server_error") from error

    async def _events(self, asked: Completion, names: tuple[str, ...]) -> "AsyncGenerator[str | _Done, None]":
        """The pieces of the answer, and in the end what is known of it."""

        def work() -> "Iterator[str | _Done]":
            memory = self._shelf.memory(names)
            settings = self._settings
            answer = memory.ask(
                asked.question,
                max_new_tokens=asked.max_new_tokens or settings.max_new_tokens,
                temperature=settings.temperature if asked.temperature is None else asked.temperature,
                passages=settings.passages,
                template=asked.template,
                history=asked.history,
            )
            try:
                yield from answer
                yield _Done.of(memory, answer)
            finally:
                answer.stop()

        async with aclosing(self._worker.stream(work)) as pieces:
            async for piece in pieces:
                yield piece

    def _check_token(self, request: Request) -> None:
        wanted = self._limits.token
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if wanted is not None and not secrets.compare_digest(given.encode(), wanted.encode()):
            raise RequestError(
                "the token is missing or wrong (Authorization: Bearer …)", status=401, code="invalid_api_key"
            )

    def _names(self) -> list[str]:
        return [MODEL, *(f"{MODEL}:{name}" for name in self._shelf.names)]

    def _about(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._began, "owned_by": "beacon"}


@dataclass(frozen=True)
class _Done:
    """What is known of a complete answer."""

    text: str
    finish: str
    usage: dict[str, int]
    support: dict[str, Any]

    @classmethod
    def of(cls, memory: Memory, answer: Answer) -> "_Done":
        asked = memory.tokens + memory.count(answer.question or "")
        usage = {"prompt_tokens": asked, "completion_tokens": answer.generated}
        support = {
            "answered": answer.answered,
            "supported": answer.supported,
            "finished": answer.finished,
            "citations": [asdict(citation) for citation in answer.citations],
            "passages": [asdict(passage) for passage in answer.found],
        }
        finish = "length" if answer.finished == "length" else "stop"
        return cls(answer.text, finish, usage | {"total_tokens": sum(usage.values())}, support)


def _whole(asked: Completion, done: _Done) -> dict[str, Any]:
    message = {"role": "assistant", "content": done.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": done.finish, "logprobs": None}
    return _head(asked, "chat.completion") | {"choices": [choice], "usage": done.usage, "beacon": done.support}


async def _chunks(
    asked: Completion, first: str | _Done, rest: AsyncGenerator[str | _Done, None]
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: every chunk has a finish_reason, which is null but for the last; then usage; then the end."""
    head = _head(asked, "chat.completion.chunk") | ({"usage": None} if asked.usage else {})

    def event(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event(head | {"choices": [choice]} | more)

    yield event({"role": "assistant", "content": ""})
    try:
        async with aclosing(rest):
            piece = first
            while not isinstance(piece, _Done):
                yield event({"content": piece})
                piece = await anext(rest)
    except BeaconError as error:
        yield _event(_error(RequestError(str(error), status=500, code="server_error")))
        return
    yield event({}, piece.finish, beacon=piece.support)
    if asked.usage:
        yield _event(head | {"choices": [], "usage": piece.usage})
    yield b"data: [DONE]\n\n"


def _head(asked: Completion, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": asked.model}


def _event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


async def _body(request: Request) -> Any:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BYTES:
            raise RequestError(f"the body has more than {MOST_BYTES:,} bytes", status=413)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise RequestError("the body is no JSON") from None


def _error(error: RequestError) -> dict[str, Any]:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        raise error
    headers = {"Retry-After": "5"} if error.status in (429, 503) else {}
    return JSONResponse(_error(error), status_code=error.status, headers=headers)


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    message = f"there is no {request.method} {request.url.path} here"
    return JSONResponse(_error(RequestError(message, status=status)), status_code=status)


async def _failed(request: Request, error: Exception) -> Response:
    """A defect: what it is stands in the server's log, and in no answer."""
    return JSONResponse(_error(RequestError("the server failed; see its log", status=500)), status_code=500)

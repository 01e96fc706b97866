"""The HTTP server: `/v1/chat/completions` and `/v1/models` as OpenAI's API has them, about the documents on a shelf."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
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
from beacon_cli.answering.citations import Citation
from beacon_cli.answering.passages import Passage
from beacon_cli.errors import BeaconError, DocumentError
from beacon_cli.library import Memory
from beacon_cli.serving.http import (
    Limits,
    Protected,
    admit,
    as_json,
    as_request_error,
    event,
    failed,
    json_body,
    not_found,
    refused,
)
from beacon_cli.serving.page import Page
from beacon_cli.serving.requests import MODEL, Completion, RequestError, parse
from beacon_cli.serving.shelf import Shelf
from beacon_cli.serving.uploads import Uploads
from beacon_cli.serving.worker import GivenUpError, QueueFullError, Worker
from beacon_cli.settings import Settings

# Seconds between two looks whether whoever asked is still there.
_LOOK_UP = 0.5


def make_app(shelf: Shelf, settings: Settings, limits: Limits, uploads: Uploads, worker: Worker) -> Starlette:
    """The application: OpenAI's API, and the page."""
    shelf.on_step = worker.give_way
    server = _Server(shelf, settings, limits, worker)
    routes = [
        Route("/v1/chat/completions", server.complete, methods=["POST"]),
        Route("/v1/models", server.models),
        Route("/v1/models/{name:path}", server.model),
        Route("/health", server.health),
        *Page(shelf, limits, uploads, worker).routes(),
    ]
    # A page of another site cannot ask under a name of its own that leads here.
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(limits.hosts), www_redirect=False)
    return Starlette(
        routes=routes,
        middleware=[trusted, Middleware(Protected)],
        exception_handlers={404: not_found, 405: not_found, RequestError: refused, Exception: failed},
    )


class _Server:
    def __init__(self, shelf: Shelf, settings: Settings, limits: Limits, worker: Worker) -> None:
        self._shelf, self._settings, self._limits, self._worker = shelf, settings, limits, worker
        self._began = int(time.time())

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(self, request: Request) -> Response:
        admit(request, self._limits)
        return JSONResponse({"object": "list", "data": [self._about(name) for name in self._names()]})

    async def model(self, request: Request) -> Response:
        admit(request, self._limits)
        name = request.path_params["name"]
        if name not in self._names():
            raise RequestError(f"there is no model {name!r} here", status=404, param="model", code="model_not_found")
        return JSONResponse(self._about(name))

    async def complete(self, request: Request) -> Response:
        admit(request, self._limits)
        asked = parse(await json_body(request))
        if asked.documents is None and len(self._shelf.names) > 1 and asked.model != MODEL:
            raise RequestError(f"there is no model {asked.model!r} here", status=404, code="model_not_found")
        try:
            names = self._shelf.check(self._shelf.names if asked.documents is None else asked.documents)
        except DocumentError as error:
            raise RequestError(str(error), status=404, param="model", code="model_not_found") from error
        if not names:
            raise RequestError("no document is here yet; drop one on the page", status=404, code="model_not_found")
        events = self._events(asked, names)
        # What goes wrong before the first piece has a status of its own.
        end = time.monotonic() + self._limits.seconds
        first = await self._next(request, events, end)
        if asked.stream and first is not None:
            chunks = _chunks(asked, first, events)
            return StreamingResponse(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        async with aclosing(events):
            while isinstance(first, str):
                first = await self._next(request, events, end)
        return Response(status_code=499) if first is None else JSONResponse(_whole(asked, first))

    async def _next(
        self, request: Request, events: "AsyncGenerator[str | _Done, None]", end: float
    ) -> "str | _Done | None":
        """What comes next; None if whoever asked is gone."""
        coming = asyncio.ensure_future(anext(events))
        try:
            while not coming.done():
                if await request.is_disconnected():
                    return None
                if time.monotonic() > end:
                    raise RequestError(
                        f"no answer within {self._limits.seconds:g} seconds; ask again later", status=503,
                        code="timeout",
                    )  # fmt: skip
                await asyncio.wait({coming}, timeout=min(_LOOK_UP, max(end - time.monotonic(), 0.001)))
            return await coming
        except (QueueFullError, GivenUpError, BeaconError) as error:
            raise as_request_error(error, self._limits) from error
        finally:
            coming.cancel()
            await asyncio.wait({coming})

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
                recall=settings.recall,
                template=asked.template,
                history=asked.history,
            )
            try:
                yield from answer
                yield _Done.of(memory, answer, self._shelf.called(memory))
            finally:
                answer.stop()

        async with aclosing(self._worker.stream(work, lambda: self._shelf.is_ready(names))) as pieces:
            async for piece in pieces:
                yield piece

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
    def of(cls, memory: Memory, answer: Answer, called: dict[str, str]) -> "_Done":
        """Of an answer; `called` has the names on the shelf of what the memory names."""
        asked = memory.tokens + memory.count(answer.question or "")
        usage = {"prompt_tokens": asked, "completion_tokens": answer.generated}

        def places(found: Sequence[Citation | Passage]) -> list[dict[str, Any]]:
            return [asdict(place) | {"document": called[place.document]} for place in found]

        support = {
            "answered": answer.answered,
            "supported": answer.supported,
            "finished": answer.finished,
            "citations": places(answer.citations),
            "closest": places(answer.closest),
            "passages": places(answer.found),
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

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event(head | {"choices": [choice]} | more)

    yield chunk({"role": "assistant", "content": ""})
    try:
        async with aclosing(rest):
            piece = first
            while not isinstance(piece, _Done):
                yield chunk({"content": piece})
                piece = await anext(rest)
    except (GivenUpError, BeaconError) as error:
        said = str(error) or "the server is being stopped"
        yield event(as_json(RequestError(said, status=500, code="server_error")))
        return
    yield chunk({}, piece.finish, beacon=piece.support)
    if asked.usage:
        yield event(head | {"choices": [], "usage": piece.usage})
    yield b"data: [DONE]\n\n"


def _head(asked: Completion, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": asked.model}

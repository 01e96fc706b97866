"""The page for people, and what it asks beside OpenAI's API: documents, how far reading is, pages to look at."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from beacon_cli.documents.opening import SUFFIXES
from beacon_cli.errors import BeaconError, DocumentError
from beacon_cli.serving.http import Limits, as_json, as_request_error, event, json_body
from beacon_cli.serving.requests import RequestError
from beacon_cli.serving.shelf import Names, Shelf
from beacon_cli.serving.uploads import Uploads
from beacon_cli.serving.worker import Worker

_FOLDER = Path(__file__).parent / "static"
# Seconds between two words on how far reading is.
_EVERY = 0.25
_NO_STORE = {"Cache-Control": "no-store"}


class Page:
    """The routes of the page."""

    def __init__(self, shelf: Shelf, limits: Limits, uploads: Uploads, worker: Worker) -> None:
        self._shelf, self._limits, self._uploads, self._worker = shelf, limits, uploads, worker
        self._uploading = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        guarded = self._limits.guarded
        return [
            Route("/", self.index),
            Mount("/static", StaticFiles(directory=_FOLDER)),
            Route("/documents", guarded(self.documents)),
            Route("/documents", guarded(self.upload), methods=["POST"]),
            Route("/documents", guarded(self.remove), methods=["DELETE"]),
            Route("/documents/reading", guarded(self.reading), methods=["POST"]),
            Route("/documents/page", guarded(self.page)),
            Route("/documents/file", guarded(self.file)),
        ]

    async def index(self, request: Request) -> Response:
        return FileResponse(_FOLDER / "index.html", headers={"Cache-Control": "no-cache"})

    async def documents(self, request: Request) -> Response:
        about = {
            "model": self._shelf.model.name,
            "documents": [self._about(name) for name in self._shelf.names],
            "most_bytes": self._uploads.most,
            "suffixes": sorted(SUFFIXES),
        }
        return JSONResponse(about, headers=_NO_STORE)

    async def upload(self, request: Request) -> Response:
        """A document as the body, its name in the query."""
        # A form of another site could send other types than this one.
        if request.headers.get("content-type") != "application/octet-stream":
            raise RequestError("the body is no application/octet-stream", status=415)
        if not self._uploads.most:
            raise RequestError("this server takes no documents (--upload-limit)", status=403)
        async with self._uploading:  # one after the other: a name is given once
            try:
                name = await self._uploads.add(_name(request), request.stream(), self._shelf)
            except DocumentError as error:
                raise RequestError(str(error), status=422, code="invalid_document") from error
            except ClientDisconnect:
                return Response(status_code=499)
        return JSONResponse(self._about(name), status_code=201)

    async def remove(self, request: Request) -> Response:
        """Forget a document that was dropped here: the file, and what it was condensed to."""
        name = self._known(request)
        if not self._uploads.holds(self._shelf.path(name)):
            raise RequestError(f"{name} was not dropped on the page, and stays", status=403)

        def forget() -> Iterator[None]:
            self._uploads.remove(name, self._shelf)
            yield

        def is_short() -> bool:
            return not any(name in names for names in self._shelf.paces)

        async for _ in self._worker.stream(forget, is_short):  # where nobody is reading it
            pass
        return Response(status_code=204)

    async def reading(self, request: Request) -> Response:
        """Read documents, together; server-sent events say how far it is, and how it ended."""
        body = await json_body(request)
        named = body.get("documents") if isinstance(body, dict) else None
        if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
            raise RequestError("documents is no list of names", param="documents")
        steps = self._steps(self._shelf.check(named))
        return StreamingResponse(steps, media_type="text/event-stream", headers=_NO_STORE)

    async def page(self, request: Request) -> Response:
        """The text of a page that was read."""
        name, number = self._known(request), request.query_params.get("number", "")
        pages = self._shelf.text(name).pages
        found = [page for page in pages if str(page.number) == number]
        if not found:
            raise RequestError(f"{name} has no page {number!r}", status=404)
        page = found[0]
        about = {"number": page.number, "label": page.label, "section": page.section, "text": page.text}
        return JSONResponse(about | {"last": pages[-1].number}, headers=_NO_STORE)

    async def file(self, request: Request) -> Response:
        """The bytes of a PDF, in ranges too; of nothing else, for a browser might do more with it than show it."""
        name = self._known(request)
        path = self._shelf.path(name)
        if not _is_pdf(path):
            raise RequestError(f"{name} is no PDF, or not there any more", status=404)
        return FileResponse(path, media_type="application/pdf", filename="document.pdf", headers=_NO_STORE)

    def _known(self, request: Request) -> str:
        return self._shelf.check([_name(request)])[0]

    def _about(self, name: str) -> dict[str, Any]:
        path = self._shelf.path(name)
        return {
            "name": name,
            "pdf": _is_pdf(path),
            "dropped": self._uploads.holds(path),
            "ready": self._shelf.is_ready((name,)),
        }

    async def _steps(self, names: Names) -> AsyncGenerator[bytes, None]:
        async def read() -> None:
            async for _ in self._worker.stream(
                lambda: iter([self._shelf.memory(names)]), lambda: self._shelf.is_ready(names)
            ):
                pass

        job = asyncio.ensure_future(read())
        try:
            while not job.done():
                yield event(self._step(names))
                await asyncio.wait({job}, timeout=_EVERY)
            await job
            yield event({"stage": "ready"})
        except (RequestError, BeaconError) as error:
            yield event(as_json(as_request_error(error)))
        finally:
            job.cancel()  # whoever looked on has left

    def _step(self, names: Names) -> dict[str, Any]:
        pace = self._shelf.paces.get(names)
        if pace is None:
            return {"stage": "waiting"}
        about = {"document": pace.name, "pages": pace.pages}
        if not pace.done and not pace.exact:
            return about | {"stage": "reading", "page": pace.pages_read, "share": pace.pages_read / max(pace.pages, 1)}
        share, left = min(pace.done / pace.total, 1.0), pace.seconds_left
        return about | {"stage": "condensing", "page": pace.page, "share": share, "seconds_left": left}


def _name(request: Request) -> str:
    return request.query_params.get("name", "")


def _is_pdf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(5) == b"%PDF-" or path.suffix.lower() == ".pdf"
    except OSError:
        return False

"""A real server on the scripted model, in this process."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import uvicorn

from beacon_cli.documents.finding import find_documents
from beacon_cli.library import load
from beacon_cli.serving.http import Limits
from beacon_cli.serving.server import make_app
from beacon_cli.serving.shelf import HowToRead, Shelf
from beacon_cli.serving.uploads import Uploads
from beacon_cli.serving.worker import Worker
from beacon_cli.settings import Settings
from tests.stories import WHO_KEEPS

HOSTS = ("127.0.0.1", "localhost")


class Running:
    """A server in this process, so that the script speaks for its model."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        limits: Limits,
        keep: int = 2,
        most: int = 10**6,
        how: HowToRead | None = None,
        queue: int = 16,
    ) -> None:
        settings = Settings(model=str(model), max_new_tokens=64)
        self.folder = folder
        uploads = Uploads(folder.parent / "dropped", most)
        places = [*find_documents([str(folder)]), *uploads.places()]
        self.shelf = Shelf(load(str(model)), places, settings, keep, how)
        self._worker = Worker(queue)
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = make_app(self.shelf, settings, limits, uploads, self._worker)
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]})

    def __enter__(self) -> "Running":
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *reason: object) -> None:
        self._worker.stop()
        self._server.should_exit = True
        self._thread.join(timeout=30)
        self._worker.join()

    def post(self, body: Any = None, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = asked(**fields) if body is None else body
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def events(self, **fields: Any) -> list[Any]:
        """The chunks of a streamed answer, and `[DONE]`."""
        said = self.post(stream=True, **fields).text.split("\n\n")
        assert said.pop() == ""
        assert all(event.startswith("data: ") for event in said)
        texts = [event.removeprefix("data: ") for event in said]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]


def asked(question: str = WHO_KEEPS, model: str = "beacon:a.txt", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], **fields}

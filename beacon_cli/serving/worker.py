"""One thread for the model, a queue before it that has an end, and answers that come out piece by piece."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any


class QueueFullError(Exception):
    """More is waiting than may."""


class Worker:
    """Does one thing after another, in a thread of its own.

    Args:
        most: how many may wait or be done at once.
    """

    def __init__(self, most: int) -> None:
        self._most, self._waiting = most, 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def stream(self, make: Callable[[], Iterator[Any]]) -> AsyncGenerator[Any, None]:
        """What `make()` yields, in the worker's thread. If nobody takes any more of it, it is closed.

        Raises:
            QueueFullError: if too much is waiting.
        """
        if self._waiting >= self._most:
            raise QueueFullError
        self._waiting += 1
        loop, pieces, left = asyncio.get_running_loop(), asyncio.Queue[tuple[str, Any]](), threading.Event()

        def put(kind: str, value: Any) -> None:
            with suppress(RuntimeError):  # the server has stopped
                loop.call_soon_threadsafe(pieces.put_nowait, (kind, value))

        def work() -> None:
            try:
                if not left.is_set():
                    source = make()
                    try:
                        for piece in source:
                            if left.is_set():
                                break
                            put("piece", piece)
                    finally:
                        getattr(source, "close", lambda: None)()
                put("end", None)
            except BaseException as error:
                put("error", error)

        try:
            self._pool.submit(work)
            while True:
                kind, value = await pieces.get()
                if kind == "end":
                    break
                if kind == "error":
                    raise value
                yield value
        finally:
            left.set()
            self._waiting -= 1

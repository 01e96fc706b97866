"""One thread for the model, a queue before it that has an end, and answers that come out piece by piece."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Any

from beacon_cli.serving.requests import RequestError

# Seconds that the last step of what is being done may take when the server stops.
_LAST_STEP = 10.0


class GivenUpError(RequestError):
    """Nobody waits for it any more, or the server stops."""

    def __init__(self) -> None:
        super().__init__("the server is being stopped", status=503, code="server_error")


def never() -> bool:
    """A job that waits for all those before it."""
    return False


class _Job:
    def __init__(self, make: Callable[[], Iterator[Any]], is_short: Callable[[], bool]) -> None:
        self.make, self.is_short = make, is_short
        self.left = threading.Event()
        self._loop, self.pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[str, Any]]()

    def run(self) -> None:
        try:
            if not self.left.is_set():
                source = self.make()
                try:
                    for piece in source:
                        if self.left.is_set():
                            break
                        self._put("piece", piece)
                finally:
                    getattr(source, "close", lambda: None)()
            self._put("end", None)
        except BaseException as error:
            self._put("error", error)

    def _put(self, kind: str, value: Any) -> None:
        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, (kind, value))


class Worker:
    """Does one job after another, in a thread of its own; a long one lets short ones pass, see `give_way`.

    Args:
        most: how many may wait or be done at once.
    """

    def __init__(self, most: int) -> None:
        self._most, self._unfinished = most, 0
        self._waiting: list[_Job] = []
        self._doing: list[_Job] = []  # the last one now, those before it meanwhile halted
        self._changed, self._stopping = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def stream(
        self, make: Callable[[], Iterator[Any]], is_short: Callable[[], bool] = never
    ) -> AsyncGenerator[Any, None]:
        """What `make()` yields, in the worker's thread. If nobody takes any more of it, it is closed.

        Args:
            is_short: whether it may be done amid a long job; asked when one gives way, in the worker's thread.

        Raises:
            RequestError: if too much is waiting, or the server stops.
        """
        if self._unfinished >= self._most:
            said = f"{self._most} requests are waiting already; ask again later"
            raise RequestError(said, status=429, code="rate_limit_exceeded")
        self._unfinished += 1
        job = _Job(make, is_short)
        try:
            with self._changed:
                self._waiting.append(job)
                self._changed.notify()
            while True:
                kind, value = await job.pieces.get()
                if kind == "end":
                    break
                if kind == "error":
                    raise value
                yield value
        finally:
            job.left.set()
            self._unfinished -= 1

    def give_way(self) -> None:
        """To be called by a long job, now and then, in the worker's thread: one that is short is done first.

        Raises:
            GivenUpError: if the job need not go on.
        """
        if (job := self._next(lambda waiting: waiting.is_short())) is not None:
            self._do(job)
        if self._stopping or (self._doing and self._doing[-1].left.is_set()):
            raise GivenUpError

    def stop(self) -> None:
        """End: what is being done comes to the end of its step, what waits is given up."""
        with self._changed:
            self._stopping = True
            for job in (*self._waiting, *self._doing):
                job._put("error", GivenUpError())
            self._waiting.clear()
            self._changed.notify()

    def join(self) -> None:
        """Wait for the end, after `stop`; an interpreter that ends must not find the model at work."""
        self._thread.join(_LAST_STEP)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._stopping:
                return
            if (job := self._next(lambda waiting: True)) is not None:
                self._do(job)

    def _next(self, may: Callable[[_Job], bool]) -> _Job | None:
        with self._changed:
            for number, job in enumerate(self._waiting):
                if may(job):
                    return self._waiting.pop(number)
        return None

    def _do(self, job: _Job) -> None:
        self._doing.append(job)
        job.run()
        self._doing.pop()

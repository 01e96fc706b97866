"""Bounds for a program that comes with a model: its chat template."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # no such module


@contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """End the Python code that runs in this context, in whatever thread, when it takes too much.

    Args:
        seconds: after so many, TimeoutError is raised.
        memory: for more bytes than this, beside what the process has, MemoryError is (on Linux). As long as the context
            lasts, that holds for all of the process.
    """
    deadline, before = time.monotonic() + seconds, sys.gettrace()

    def watch(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"it takes more than {seconds:g} s")
        return watch

    with _limited_memory(memory):
        sys.settrace(watch)
        try:
            yield
        finally:
            sys.settrace(before)


@contextmanager
def _limited_memory(size: int) -> Iterator[None]:
    if resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + size
    # One that is lower already stays; macOS knows the limit and does not take it.
    if soft == resource.RLIM_INFINITY or limit < soft:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

"""Running the command line, in this process or as a real one."""

import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from beacon_cli.app import main


@dataclass(frozen=True)
class Result:
    """What a run left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, stdin: bytes = b"") -> Result:
    """Run `beacon` in this process: fast, and as real as it gets short of a new interpreter."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    piped = io.TextIOWrapper(io.BytesIO(stdin))
    with (
        mock.patch.object(sys, "argv", ["beacon", *arguments]),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
        mock.patch.object(sys, "stdin", piped),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    return Result(code, out.getvalue(), err.getvalue())


def run_process(*arguments: str, stdin: bytes = b"", **options: Any) -> Result:
    """Run `beacon` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "beacon_cli", *arguments], input=stdin, capture_output=True, timeout=300, **options
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def assert_refused(result: Result, *words: str, code: int = 1) -> None:
    """Exit code 1, nothing on stdout, one line on stderr that says `words`.

    Before it stand those of a slow machine, which says every ten seconds how far it is.
    """
    assert result.code == code, result
    assert result.out == ""
    lines = [line for line in result.err.strip().splitlines() if not re.match(r"\w+: +\d+%, ", line)]
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]


def assert_misused(result: Result, *words: str) -> None:
    """As `assert_refused`, with the exit code of wrong usage."""
    assert_refused(result, *words, code=2)

"""A real terminal, of so many columns, that a command runs in."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from typing import Any


def run_in_terminal(command: Sequence[str], columns: int, *, typed: bytes = b"", **environment: str) -> tuple[int, str]:
    """Run a command with a terminal as its input and outputs: its exit code, and all that it wrote there.

    Args:
        typed: what is typed as soon as it edits a line.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=kept | {"TERM": "xterm"} | environment
    )
    os.close(theirs)
    written = bytearray()
    while True:
        try:
            if not (piece := os.read(ours, 65536)):
                break
        except OSError:  # Linux says so that the other end is closed
            break
        written += piece
        if typed and b"\x1b[?2004h" in written:  # what is pasted is to be bracketed: it waits for input
            os.write(ours, typed)
            typed = b""
    os.close(ours)
    return process.wait(timeout=60), written.decode()


def script(text: str) -> list[str]:
    """A command that runs Python."""
    return [sys.executable, "-c", text]


def beacon(*arguments: Any) -> list[str]:
    """A command that runs the tool."""
    return [sys.executable, "-m", "beacon_cli", *map(str, arguments)]

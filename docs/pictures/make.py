"""The README's pictures, of the real commands on the examples: `python docs/pictures/make.py`, from the project's root.

Needs the extra `dev` and a Chromium (`apt install chromium`). The example is condensed first if it is not yet, which
takes minutes. A terminal of `COLUMNS` columns is emulated by pyte and drawn by rich, the page drawn by Chromium.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyte
from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.serving.browser import Tab, chromium  # noqa: E402  found by what stands above

HERE = Path(__file__).parent
COLUMNS, ROWS = 100, 60
BOOK = "examples/world-factbook.pdf"
CAPITAL, HIGHEST = "What is the capital of Iceland?", "What is the highest point in Norway?"
# Seconds that a step may take; seconds of silence after which it is over.
LONGEST, QUIET = 600, 3.0
_COLOURS = {"brown": "yellow"} | {f"bright{name}": f"bright_{name}" for name in ("red", "green", "blue", "cyan")}


class Terminal(pyte.Screen):
    """A program in a terminal: what it writes, and what is typed."""

    def __init__(self, *command: str) -> None:
        super().__init__(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self)
        self._stream.feed(f"\x1b[1m$ beacon {shown(command)}\x1b[0m\r\n".encode())
        process, self._file = pty.fork()
        if not process:
            os.execvpe(sys.executable, [sys.executable, "-m", "beacon_cli", *command], os.environ | {"TERM": "xterm"})
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def write_process_input(self, data: str) -> None:
        """What the terminal itself answers when it is asked, for instance where the cursor is."""
        os.write(self._file, data.encode())

    def type(self, line: str) -> None:
        os.write(self._file, f"{line}\r".encode())

    def run(self, is_over: Callable[["Terminal"], bool] = lambda screen: False) -> None:
        """Go on until the program ends, or is silent and `is_over`."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            if not select.select([self._file], [], [], QUIET)[0]:
                if is_over(self):
                    return
                continue
            try:
                self._stream.feed(os.read(self._file, 4096))
            except OSError:  # it has ended
                return
        raise SystemExit(f"nothing more in {LONGEST} s:\n" + "\n".join(self.display))

    def save(self, name: str) -> None:
        """Draw what is on the screen as an SVG."""
        lines = [self._line(row) for row in range(ROWS)]
        while lines and not lines[-1].plain.strip():
            lines.pop()
        console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
        for line in lines:
            console.print(line, no_wrap=True, crop=True)
        # Fonts of another site are not fetched where the picture is shown; the system's own will do.
        plain = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        plain = plain.replace("font-family: Fira Code", "font-family: ui-monospace, DejaVu Sans Mono")
        svg = console.export_svg(title="", code_format=plain, unique_id=name)
        (HERE / f"{name}.svg").write_text(re.sub(r"[ \t]+\n", "\n", svg), encoding="utf-8")

    def _line(self, row: int) -> Text:
        line = Text()
        for column in range(COLUMNS):
            cell = self.buffer[row][column]
            colour = None if cell.fg == "default" else _COLOURS.get(cell.fg, cell.fg)
            colour = f"#{colour}" if colour and re.fullmatch("[0-9a-f]{6}", colour) else colour
            line.append(cell.data, Style(color=colour, bold=cell.bold, italic=cell.italics, underline=cell.underscore))
        line.rstrip()
        return line


def shown(command: Sequence[str]) -> str:
    """A command as it is typed."""
    return " ".join(f'"{word}"' if " " in word else word for word in command)


def terminals() -> None:
    """`ask`, `find` and `chat`."""
    for name, *command in (("ask", BOOK, CAPITAL), ("find", BOOK, "hot springs", "--count", "1")):
        terminal = Terminal(name, *command)
        terminal.run()
        terminal.save(name)
    chat = Terminal("chat", BOOK)

    def asks(screen: Terminal) -> bool:
        return screen.display[screen.cursor.y].strip() == ">"

    for line in (CAPITAL, HIGHEST, "/pages"):
        chat.run(asks)
        chat.type(line)
    chat.run(asks)
    chat.save("chat")
    os.write(chat._file, b"\x04")


def page() -> None:
    """The page, in the light and in the dark."""
    command = [sys.executable, "-m", "beacon_cli", "serve", BOOK, "examples/the-time-machine.txt", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            line = next(line for line in server.stderr if line.startswith("serving"))
            (url,) = re.findall(r"(http://\S+) in a browser", line)
            with chromium() as browser:
                for scheme, name in (("light", "page"), ("dark", "page-dark")):
                    size = {"width": 1200, "height": 720}
                    with Tab(browser, url, color_scheme=scheme, viewport=size) as tab:
                        tab.page.set_default_timeout(LONGEST * 1000)
                        tab.choose("world-factbook.pdf")
                        tab.ask(HIGHEST)
                        tab.ask(CAPITAL).locator(".place").last.click()
                        tab.marked()
                        save(tab.page.screenshot(), HERE / f"{name}.png")
        finally:
            server.terminate()


def save(picture: bytes, path: Path) -> None:
    """A screenshot in 256 colours, which takes less than half of the bytes."""
    Image.open(BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    with TemporaryDirectory() as state:
        os.chdir(ROOT)
        os.environ |= {"BEACON_STATE_DIR": state, "BEACON_CONFIG": f"{state}/config.toml"}
        Path(state, "config.toml").touch()
        subprocess.run([sys.executable, "-m", "beacon_cli", "cache", "build", BOOK], check=True)
        terminals()
        page()

"""`beacon serve`, as a process."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx

from tests.cli.runner import assert_misused, run
from tests.scripted import UNPROMPTED
from tests.stories import story


def test_a_served_book_is_asked(book: Path) -> None:
    command = [sys.executable, "-m", "beacon_cli", "serve", str(book), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            line = next(line for line in lines if line.startswith("serving"))
            (url,) = re.findall(r"serving 1 document: .*, (http://127\.0\.0\.1:\d+/v1) for programs", line)
            body = {"model": "beacon", "messages": [{"role": "user", "content": "Who?"}]}
            made = httpx.post(f"{url}/chat/completions", json=body, timeout=60).json()
            assert made["choices"][0]["message"]["content"] == UNPROMPTED
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()


def test_ctrl_c_ends_it_amid_condensing_and_tells_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text(story(300))
    command = [sys.executable, "-m", "beacon_cli", "serve", str(path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if line.startswith("serving"))
            (url,) = re.findall(r"(http://\S+) in a browser", line)
            body = {"documents": ["long.txt"]}
            with httpx.stream("POST", f"{url}/documents/reading", json=body, timeout=60) as response:
                lines = response.iter_lines()
                next(line for line in lines if '"stage": "reading"' in line or '"stage": "condensing"' in line)
                process.send_signal(signal.SIGINT)
                assert "the server is being stopped" in "".join(lines)
            assert process.wait(timeout=30) == 130
            assert process.stderr.read().strip() == "error: interrupted"
        finally:
            process.kill()


def test_without_documents_and_without_a_page_to_drop_them_there_is_nothing_to_serve() -> None:
    assert_misused(run("serve", "--upload-limit", "0"), "name a document")
    assert_misused(run("serve", "--upload-limit", "many"), "is no size")


def test_others_need_a_token(book: Path) -> None:
    assert_misused(run("serve", str(book), "--host", "0.0.0.0"), "--token")
    assert_misused(run("serve", "-"), "standard input")


def test_a_port_that_is_taken_is_named(book: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_misused(run("serve", str(book), "--port", str(port)), f"cannot listen on 127.0.0.1:{port}")

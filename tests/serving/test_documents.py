"""What the page asks of the server: documents that come and go, how far reading is, pages to look at."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from beacon_cli.cache import builder
from beacon_cli.cache.store import Store
from beacon_cli.library import load
from beacon_cli.serving.http import Limits
from beacon_cli.serving.uploads import Uploads, file_name
from tests.documents.pdf_samples import pdf
from tests.scripted import WINDOW, Script
from tests.serving.running import HOSTS, Running
from tests.stories import FACT, WHO_KEEPS, story

BINARY = {"Content-Type": "application/octet-stream"}


def names(server: Running) -> list[str]:
    return [each["name"] for each in httpx.get(f"{server.url}/documents").json()["documents"]]


def drop(server: Running, name: str, data: bytes, **options: Any) -> httpx.Response:
    return httpx.post(
        f"{server.url}/documents", params={"name": name}, content=data, timeout=60, headers=BINARY | options
    )


def read(server: Running, *documents: str) -> list[dict[str, Any]]:
    body = {"documents": list(documents)}
    said = httpx.post(f"{server.url}/documents/reading", json=body, timeout=60)
    assert said.status_code == 200, said.text
    return [json.loads(each.removeprefix("data: ")) for each in said.text.split("\n\n")[:-1]]


def test_a_dropped_document_is_asked_about_like_any_other(server: Running, says: Script) -> None:
    says("Edda Voss")
    made = drop(server, "../shelf/a.txt", f"{FACT}\n".encode())
    assert (made.status_code, made.json()["name"]) == (201, "a (2).txt")
    assert (
        drop(server, "a.txt", (server.folder / "a.txt").read_bytes()).json()["name"] == "a.txt"
    )  # it is there already
    assert names(server) == ["a.txt", "b.txt", "c.txt", "a (2).txt"]
    asked = server.post(model="beacon:a (2).txt").json()
    assert asked["beacon"]["citations"][0]["document"] == "a (2).txt"
    assert server.post(model="beacon").json()["beacon"]["citations"][0]["quote"] == FACT


def test_what_was_dropped_is_there_after_a_kill(
    server: Running, shelf: Path, scripted_model: Path, says: Script
) -> None:
    drop(server, "book.txt", FACT.encode())
    # Nothing is done when a server ends: another one finds what this one has on the disk.
    with Running(shelf, scripted_model, Limits(60, None, HOSTS)) as other:
        assert "book.txt" in names(other)
        assert other.post(model="beacon:book.txt").status_code == 200


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\x\\book.pdf", "book.pdf"),
        (".hidden.pdf", "hidden.pdf"),
        ("a\x1b[31m\nb\0.txt", "a�[31m�b.txt"),
        ("..", "document"),
        ("", "document"),
        ("a" * 999 + ".pdf", "a" * 196 + ".pdf"),
        ("ä" * 999 + ".pdf", "ä" * 98 + ".pdf"),
        ("a." + "b" * 999, "document"),
    ],
)
def test_a_name_is_never_a_path(called: str, name: str) -> None:
    assert file_name(called) == name


def test_too_much_and_other_types_are_refused(server: Running, tmp_path: Path) -> None:
    assert drop(server, "a.txt", b"x" * (10**6 + 1)).status_code == 422
    assert drop(server, "a.txt", b"x", **{"Content-Type": "text/plain"}).status_code == 415
    assert drop(server, "scan.pdf", pdf([None])).json()["error"]["message"].startswith("scan.pdf: holds no text")
    assert list((tmp_path / "dropped").iterdir()) == []
    assert httpx.delete(f"{server.url}/documents", params={"name": "a.txt"}).status_code == 403
    assert (server.folder / "a.txt").exists()


def test_where_none_may_be_dropped_none_is(shelf: Path, scripted_model: Path, says: Script) -> None:
    with Running(shelf, scripted_model, Limits(60, None, HOSTS), most=0) as server:
        assert drop(server, "a.txt", b"x").status_code == 403
        assert not (shelf.parent / "dropped").exists()


def test_what_a_killed_server_left_half_written_goes(tmp_path: Path) -> None:
    folder = tmp_path / "dropped"
    Uploads(folder, 1)
    old, new = folder / ".part-old", folder / ".part-new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert Uploads(folder, 1).places() == []
    assert [path.name for path in folder.iterdir()] == [".part-new"]


def test_a_removed_document_leaves_nothing(server: Running, says: Script, tmp_path: Path) -> None:
    drop(server, "book.txt", f"{story(4)}{FACT}".encode())
    server.post(model="beacon:book.txt")
    server.post(model="beacon:a.txt")
    assert len(Store.default().entries()) == 2
    assert httpx.delete(f"{server.url}/documents", params={"name": "book.txt"}).status_code == 204
    (kept,) = Store.default().entries()
    assert kept.manifest is not None
    assert kept.manifest.subject.document.name == "a.txt"
    assert list((tmp_path / "dropped").iterdir()) == []
    assert server.post(model="beacon:book.txt").status_code == 404


def test_how_far_reading_is_comes_as_events(server: Running, says: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, follow = threading.Event(), server.shelf.on_step
    drop(server, "long.txt", story(40).encode())

    def step() -> None:
        if any(pace.done > 300 for pace in server.shelf.paces.values()):
            go_on.wait(1)  # longer than between two events
        follow()

    monkeypatch.setattr(server.shelf, "on_step", step)
    *steps, last = read(server, "long.txt")
    assert last == {"stage": "ready"}
    condensing = [step for step in steps if step["stage"] == "condensing" and step["share"] > 0]
    assert condensing
    assert all(step["document"] == "long.txt" and 0 < step["share"] <= 1 for step in condensing)
    assert condensing[-1]["seconds_left"] >= 0
    go_on.set()
    assert read(server, "long.txt")[-1] == {"stage": "ready"}


def test_reading_that_fails_says_why_and_no_path(server: Running, tmp_path: Path) -> None:
    (server.folder / "b.txt").unlink()
    message = read(server, "b.txt")[-1]["error"]["message"]
    assert message.startswith("b.txt: no such file")
    assert str(tmp_path) not in message
    url = f"{server.url}/documents/reading"
    assert httpx.post(url, json={"documents": ["../a.txt"]}).status_code == 404
    assert httpx.post(url, json={"documents": []}).status_code == 400
    assert httpx.post(url, content="{}").status_code == 415


def test_pages_that_were_read_are_shown(server: Running) -> None:
    url = f"{server.url}/documents/page"
    assert httpx.get(url, params={"name": "a.txt", "number": 1}).status_code == 404
    read(server, "a.txt")
    page = httpx.get(url, params={"name": "a.txt", "number": 1}).json()
    assert FACT in page["text"]
    assert (page["number"], page["last"]) == (1, 1)
    for number in ("2", "0", "x", ""):
        assert httpx.get(url, params={"name": "a.txt", "number": number}).status_code == 404


def test_the_bytes_of_pdfs_alone_are_given_out(server: Running) -> None:
    data = pdf(["One", "Two"])
    drop(server, "book.pdf", data)
    url = f"{server.url}/documents/file"
    part = httpx.get(url, params={"name": "book.pdf"}, headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, data[:8])
    assert part.headers["content-disposition"].startswith("attachment")
    assert httpx.get(url, params={"name": "book.pdf"}).content == data
    for name in ("a.txt", "../book.pdf", "/etc/passwd"):
        assert httpx.get(url, params={"name": name}).status_code == 404


def test_a_page_of_another_site_cannot_ask(server: Running) -> None:
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site}
        assert httpx.get(f"{server.url}/documents", headers=headers).status_code == 403
        assert server.post(headers=headers).status_code == 403
        assert drop(server, "x.txt", b"x", **headers).status_code == 403
    page = httpx.get(server.url)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe-inline" not in page.headers["content-security-policy"]
    assert "x.txt" not in names(server)


def test_everything_but_the_page_itself_needs_the_token(shelf: Path, scripted_model: Path, says: Script) -> None:
    with Running(shelf, scripted_model, Limits(60, "secret", HOSTS)) as server:
        assert httpx.get(server.url).status_code == 200
        for method, path in (
            ("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/reading"), ("GET", "/page"), ("GET", "/file"),
        ):  # fmt: skip
            assert httpx.request(method, f"{server.url}/documents{path}").status_code == 401


def test_what_is_asked_amid_condensing_is_answered_and_changes_nothing(
    server: Running, scripted_model: Path, says: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("Edda Voss")
    path = tmp_path / "long.txt"
    path.write_text(story(40))
    server.shelf.add(path)
    server.post(model="beacon:a.txt")
    answers: list[str] = []
    follow = server.shelf.on_step
    begun, asked = threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        if not asked.is_set():
            follow()

    monkeypatch.setattr(server.shelf, "on_step", step)

    def ask() -> None:
        begun.wait(30)
        for _ in range(3):
            answers.append(server.post(model="beacon:a.txt").json()["choices"][0]["message"]["content"])
        asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    monkeypatch.setattr(server.shelf, "on_step", lambda: (step(), asked.wait(0.2)))
    read(server, "long.txt")
    assert asked.is_set()  # while it was being condensed
    thread.join()
    assert answers == ["Edda Voss"] * 3
    alone = load(str(scripted_model)).read(str(path), cache=False)
    amid = server.shelf.memory(("long.txt",))
    says("Edda Voss")
    assert (alone.ask(WHO_KEEPS).text, amid.ask(WHO_KEEPS).text) == ("Edda Voss", "Edda Voss")
    assert says.asked[0].equals(says.asked[1])


def test_who_leaves_ends_the_condensing_and_the_next_goes_on(
    server: Running, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "SHARD_BYTES", 1)  # durable after every interval
    drop(server, "long.txt", story(40).encode())
    follow, halfway = server.shelf.on_step, threading.Event()

    def step() -> None:
        if any(pace.done >= 1000 for pace in server.shelf.paces.values()):
            halfway.wait(5)
        follow()

    monkeypatch.setattr(server.shelf, "on_step", step)
    with httpx.stream("POST", f"{server.url}/documents/reading", json={"documents": ["long.txt"]}) as response:
        for line in response.iter_lines():
            if '"condensing"' in line and '"share": 0.0' not in line:
                break
    halfway.set()
    assert server.post(model="beacon:a.txt").status_code == 200  # in its turn, after that ended
    assert not server.shelf.is_ready(("long.txt",))
    assert read(server, "long.txt")[-1] == {"stage": "ready"}
    (about,) = server.shelf.memory(("long.txt",)).documents
    assert 0 < about.condensed_now < about.tokens // WINDOW * WINDOW

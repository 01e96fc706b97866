"""A real server on the scripted model, asked as a client of OpenAI's API asks."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from beacon_cli.documents.finding import find_documents
from beacon_cli.library import Memory, load
from beacon_cli.serving.http import Limits
from beacon_cli.serving.requests import RequestError, parse
from beacon_cli.serving.shelf import Shelf
from beacon_cli.settings import Settings
from tests.scripted import Script
from tests.serving.running import HOSTS, Running, asked
from tests.stories import FACT, WHO_KEEPS


def test_a_question_is_answered_with_its_places(server: Running, says: Script) -> None:
    says("Edda Voss")
    made = server.post().json()
    assert made["object"] == "chat.completion"
    (choice,) = made["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Edda Voss", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert made["usage"]["completion_tokens"] == len(says.asked[0].logits) - 1
    assert made["usage"]["total_tokens"] == made["usage"]["prompt_tokens"] + made["usage"]["completion_tokens"]
    assert made["beacon"]["supported"] is True
    assert made["beacon"]["citations"][0]["quote"] == FACT
    assert server.post(max_tokens=2).json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_has_a_finish_reason_in_every_chunk_and_an_end(server: Running, says: Script, usage: bool) -> None:
    says("Edda Voss")
    *chunks, done = server.events(**({"stream_options": {"include_usage": True}} if usage else {}))
    assert done == "[DONE]"
    counted = chunks.pop() if usage else None
    assert all(("usage" in chunk) is usage for chunk in chunks)
    assert counted is None or (counted["choices"], counted["usage"]["completion_tokens"] > 1) == ([], True)
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Edda Voss"
    assert chunks[-1]["beacon"]["supported"] is True


def test_documents_are_named_by_the_model_or_by_a_field(server: Running, says: Script) -> None:
    assert [each["id"] for each in httpx.get(f"{server.url}/v1/models").json()["data"]] == [
        "beacon", "beacon:a.txt", "beacon:b.txt", "beacon:c.txt",
    ]  # fmt: skip
    assert httpx.get(f"{server.url}/v1/models/beacon:a.txt").json()["owned_by"] == "beacon"
    says("nine")
    places = [server.post(question="When does the ferry leave?", **how).json()["beacon"]["citations"] for how in (
        {"model": "beacon:c.txt"}, {"model": "beacon"}, {"model": "x", "documents": ["b.txt", "c.txt"]},
    )]  # fmt: skip
    assert [found[0]["document"] for found in places] == ["c.txt"] * 3
    for body in (asked(model="beacon:d.txt"), asked(model="gpt"), asked(documents=["../c.txt"])):
        refused = server.post(body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_eight_at_once_on_one_document_and_on_three(server: Running, says: Script) -> None:
    says("Edda Voss")
    names = ["a.txt"] * 8 + ["a.txt", "b.txt", "c.txt"] * 3
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: server.post(model=f"beacon:{name}"), names[:8]))
        answers += list(pool.map(lambda name: server.post(model=f"beacon:{name}"), names[8:]))
    assert [answer.status_code for answer in answers] == [200] * len(names)
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {"Edda Voss"}
    assert [answer.json()["beacon"]["supported"] for answer in answers] == [name == "a.txt" for name in names]


def test_a_conversation_goes_on(server: Running, says: Script) -> None:
    says("In 1871")
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": WHO_KEEPS},
        {"role": "assistant", "content": "Edda Voss"},
        {"role": "user", "content": [{"type": "text", "text": "And when was she born?"}]},
    ]
    assert server.post({"model": "beacon:a.txt", "messages": talk}).status_code == 200
    assert "Be brief.\n\nQuestion: And when was she born?" in says.asked[0].prompt
    assert FACT in "".join(says.asked[0].passages)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "no JSON object"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "no role"),
        ({"messages": [{"role": "user", "content": " "}]}, "no question"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "no text"),
        (asked(n=2), "n is more than 1"),
        (asked(tools=[{}]), "tools"),
        (asked(temperature="hot"), "temperature"),
        (asked(max_tokens=0), "max_tokens"),
        (asked(stream="yes"), "stream"),
        (asked(documents=[]), "documents"),
        (asked(response_format={"type": "json_object"}), "response_format"),
    ],
)
def test_what_cannot_be_answered_is_refused(body: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said) as refused:
        parse(body)
    assert 400 <= refused.value.status < 500


def test_what_is_too_much_or_something_else_has_a_status_of_its_own(server: Running, says: Script) -> None:
    assert server.post(question="word " * 9000).status_code == 400
    assert "do not fit" in server.post(question="word " * 9000, stream=True).json()["error"]["message"]
    assert server.post(question="x" * 2**21).status_code == 413
    url = f"{server.url}/v1/chat/completions"
    assert httpx.post(url, content=json.dumps(asked())).status_code == 415
    assert httpx.post(url, content="{", headers={"Content-Type": "application/json"}).status_code == 400
    assert httpx.get(url).status_code == 405
    assert httpx.get(f"{server.url}/nothing").json()["error"]["type"] == "not_found_error"
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    # A page of another site, under a name that leads here.
    assert server.post(headers={"Host": "evil.example"}).status_code == 400


def test_a_token_is_asked_for(shelf: Path, scripted_model: Path, says: Script) -> None:
    with Running(shelf, scripted_model, Limits(60, "secret", HOSTS)) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert server.post(headers=headers).status_code == 401
            assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401
        assert server.post(headers={"Authorization": "Bearer secret"}).status_code == 200


def test_a_full_queue_says_so(shelf: Path, scripted_model: Path, says: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    with Running(shelf, scripted_model, Limits(60, None, HOSTS), queue=1) as server:
        begun, go_on, memory = threading.Event(), threading.Event(), server.shelf.memory

        def held(names: tuple[str, ...]) -> Memory:
            begun.set()
            go_on.wait(30)
            return memory(names)

        monkeypatch.setattr(server.shelf, "memory", held)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(server.post)
            assert begun.wait(30)
            second = server.post()
            assert (second.status_code, second.headers["retry-after"]) == (429, "5")
            go_on.set()
            assert first.result().status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(shelf: Path, scripted_model: Path, says: Script) -> None:
    with Running(shelf, scripted_model, Limits(0.001, None, HOSTS), queue=4) as server:
        assert server.post().json()["error"]["code"] == "timeout"


def test_the_time_that_an_answer_may_take_is_that_of_all_its_pieces(
    shelf: Path, scripted_model: Path, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        def ask(self, *_: object, **__: object) -> "Slow":
            return self

        def __iter__(self) -> Iterator[str]:
            for piece in ("Edda", " Voss"):
                time.sleep(0.6)
                yield piece

        def stop(self) -> None:
            pass

    with Running(shelf, scripted_model, Limits(1.0, None, HOSTS), queue=4) as server:
        monkeypatch.setattr(server.shelf, "memory", lambda names: Slow())
        assert server.post().json()["error"]["code"] == "timeout"


def test_the_memory_that_was_used_longest_ago_goes(shelf: Path, scripted_model: Path, says: Script) -> None:
    model = load(str(scripted_model))
    kept = Shelf(model, find_documents([str(shelf)]), Settings(model=str(scripted_model)), keep=2)
    first, second = kept.memory(("a.txt",)), kept.memory(("b.txt",))
    assert kept.memory(("a.txt",)) is first
    kept.memory(("c.txt",))
    assert kept.memory(("a.txt",)) is first
    assert kept.memory(("b.txt",)) is not second


def test_a_listener_who_leaves_stops_the_answer(server: Running, says: Script) -> None:
    says("a b c d e f g h i j k l m n o p q r s t u v w x y z", "Edda Voss")
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=asked(stream=True)) as response:
        next(response.iter_bytes())
    assert server.post().json()["choices"][0]["message"]["content"] == "Edda Voss"

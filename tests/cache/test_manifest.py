"""A manifest is either right or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.manifest import MAX_INTERVALS_PER_SHARD, Manifest, chain_link, read_manifest
from beacon_cli.durable.records import seal
from beacon_cli.errors import CacheError
from tests.cache.synthetic_cache import KEY, SUBJECT, build, check_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return build(tmp_path)


def read(entry: Entry, data: bytes) -> Manifest | None:
    """The manifest that `data` makes, or None if it is refused as it should be."""
    (entry.folder / "manifest.json").write_bytes(data)
    try:
        return read_manifest(entry.folder)
    except CacheError as error:
        check_message(error, "--refresh", f"beacon cache rm {KEY}")
        return None


def resealed(value: Any) -> bytes:
    """The manifest with these members, under a checksum that is right where one can be made."""
    members = value if isinstance(value, dict) else {}
    try:
        return seal(SimpleNamespace(**{name: member for name, member in members.items() if name != "checksum"}))
    except ValueError:
        return json.dumps(value).encode()


def places(value: Any) -> list[tuple[Any, Any]]:
    """All (container, key) pairs within a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_manifest_is_refused_or_still_consistent(entry: Entry, data: st.DataObject) -> None:
    value = entry_value(entry)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(value)))
        match data.draw(st.sampled_from(["replace", "delete", "add", "nudge"])):
            case "delete":
                del container[key]
            case "add" if isinstance(container, list):
                container.append(container[key])
            case "nudge" if isinstance(container[key], int):
                container[key] += data.draw(st.integers(-2, 2))
            case _:
                container[key] = data.draw(JSON)
        if not places(value):
            break
    manifest = read(entry, resealed(value))
    if manifest is not None:
        assert manifest.tokens == manifest.condensed_tokens + len(manifest.tail)
        assert manifest.rows == sum(interval.beacons for interval in manifest.intervals)
        try:
            list(entry.open())
        except CacheError as error:
            check_message(error)


def entry_value(entry: Entry) -> Any:
    """The JSON value of the manifest as it was built."""
    original = entry.folder.parent / "original.json"
    if not original.exists():
        original.write_bytes((entry.folder / "manifest.json").read_bytes())
    return json.loads(original.read_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"format":' + b"1" * 5000 + b"}",
        b'{"format":true}',
    ],
)
def test_what_is_no_manifest_at_all_is_refused(entry: Entry, data: bytes) -> None:
    assert read(entry, data) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.pop("tail"), "tail"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.update(created="yesterday"), "yesterday"),
        (lambda m: m.update(created="2024-01-01T00:00:00"), "time zone"),
        (lambda m: m.update(complete=1), "complete is 1"),
        (lambda m: m.update(complete=False), "contradict"),
        (lambda m: m.update(pages=None), "contradict"),
        (lambda m: m.update(intervals_per_shard=0), "intervals_per_shard"),
        (lambda m: m.update(intervals_per_shard=MAX_INTERVALS_PER_SHARD + 1), "intervals_per_shard"),
        (lambda m: m.update(tail=[2**31]), "token id"),
        (lambda m: m.update(intervals=[], shards=[]), "sink"),
        (lambda m: m.update(chain="ab" * 32), "chain does not end"),
        (lambda m: m.update(chain=None), "contradict"),
        (lambda m: m.update(tail=[5, 6, 8]), "chain does not end"),
        (lambda m: m["shards"].pop(), "8 intervals do not make 2 shards"),
        (lambda m: m["shards"][0].update(rows=11), "differ"),
        (lambda m: m["shards"][0].update(sha256="../../etc/passwd"), "not a SHA-256"),
        (lambda m: m["shards"][0].update(size=-1), "out of range"),
        (lambda m: m["intervals"][4].update(start=0), "interval 4"),
        (lambda m: m["intervals"][4].update(offset=0), "interval 4"),
        (lambda m: m["intervals"][4].update(beacons=0), "empty"),
        (lambda m: m["intervals"][4].update(chain="AB" * 32), "not a SHA-256"),
        (lambda m: m["subject"]["identity"].update(bits=5), "5 bits"),
        (lambda m: m["subject"]["identity"].update(window=32), "that of cache"),
        (lambda m: m["subject"]["identity"].update(ratio=1e999), "malformed"),
        (lambda m: m["subject"]["document"].update(selection="all"), "that of cache"),
    ],
)
def test_each_contradiction_is_named(entry: Entry, change: Callable[[dict[str, Any]], object], reason: str) -> None:
    value = entry_value(entry)
    change(value)
    (entry.folder / "manifest.json").write_bytes(resealed(value))
    with pytest.raises(CacheError, match=reason):
        read_manifest(entry.folder)


def test_another_format_says_who_wrote_it(entry: Entry) -> None:
    value = entry_value(entry) | {"format": 3, "tool_version": "9.9.9", "new": {}}
    (entry.folder / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(CacheError, match=r"format 3, written by beacon '9\.9\.9'; this is beacon .* reads format 2"):
        entry.builder(SUBJECT).__enter__()


def test_a_malformed_manifest_is_kept_until_a_refresh(tmp_path: Path) -> None:
    entry = build(tmp_path)
    whole = entry.open().tokens()
    (entry.folder / "manifest.json").write_text("{")
    with pytest.raises(CacheError, match="--refresh"):
        build(tmp_path)
    assert (entry.folder / "manifest.json").read_text() == "{"
    assert build(tmp_path, refresh=True).open().tokens() == whole


def test_the_chain_depends_on_every_token_on_what_they_became_and_on_what_was_before() -> None:
    one, other = "12" * 32, "34" * 32
    links = [("", one, [1]), ("", one, [2]), ("", other, [1]), ("ab" * 32, one, [1]), ("", one, [1, 1])]
    assert len({chain_link(*link) for link in links}) == len(links)
    assert chain_link("", one, [1, 2]) == "a0cc643d88aab7f6516ff48c21758d4c1c7c942249a27d2d0d2a9d9e51be6258"

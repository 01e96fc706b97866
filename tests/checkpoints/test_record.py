"""The record beside a converted model: read as it was written, refused in one line where somebody changed it."""

import json
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.checkpoints.local.record import RECORD_FILE, Record, read_record, write_record
from beacon_cli.errors import ModelError

RECORD = Record(
    source="owner/name",
    revision=None,
    stamp="ab" * 32,
    generation="v2",
    base="Qwen2ForCausalLM",
    window=2048,
    ratios=(2, 4, 8),
    licence="mit",
    beacon_bits=16,
    source_bytes=123,
    created="2026-01-02T03:04:05+00:00",
    tool_version="1.0",
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD


def test_one_of_before_gguf_files_were_read(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    path = tmp_path / RECORD_FILE
    older = json.loads(path.read_text())
    assert older.pop("weight_bits") == 4
    path.write_text(json.dumps(older))
    assert read_record(tmp_path) == RECORD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ratios": 8}, "ratios is 8, not of type list"),
        ({"ratios": [2, "4"]}, "ratios is '4', not of type int"),
        ({"ratios": None}, "ratios is None"),
        ({"source": 7}, "source is 7, not of type str"),
        ({"source": None}, "source is None"),
        ({"revision": False}, "revision is False"),
        ({"window": "2048"}, "window is '2048'"),
        ({"window": 0}, "window is 0"),
        ({"window": float("nan")}, "NaN is not a number"),
        ({"beacon_bits": 5}, "beacon_bits is 5, not 4 or 16"),
        ({"source_bytes": -1}, "source_bytes is out of range"),
        ({"colour": "red"}, "lacks or does not know 'colour'"),
        ({"format_version": 2}, "format version 2, and this tool reads 1"),
        ({"format_version": None}, "format version None"),
    ],
)
def test_a_field_that_cannot_be_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    write_record(tmp_path, RECORD)
    path = tmp_path / RECORD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(tmp_path, reason)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", "[" * 100_000, "\udcff", "{}"])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD_FILE).write_bytes(text.encode(errors="surrogateescape"))
    refused(tmp_path, "")


def test_a_missing_one_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "No such file")


def refused(folder: Path, reason: str) -> None:
    with pytest.raises(ModelError) as error:
        read_record(folder)
    message = str(error.value)
    assert message.startswith(f"{folder / RECORD_FILE} cannot be used (")
    assert reason in message
    assert "beacon models rm" in message
    assert "\n" not in message
    assert len(message) < 600

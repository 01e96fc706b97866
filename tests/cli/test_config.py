"""`beacon config`: what is set and where, and setting it without harm to the rest of the file."""

import os
from pathlib import Path

import pytest

from tests.cli.runner import assert_misused, run


@pytest.fixture
def file() -> Path:
    return Path(os.environ["BEACON_CONFIG"])


def test_list_says_where_each_value_comes_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("ratio = 8\n")
    monkeypatch.setenv("BEACON_PASSAGES", "3")
    rows = {row[0]: row[1:3] for row in (line.split("\t") for line in run("config", "list").out.splitlines())}
    assert rows["ratio"] == ["8", str(file)]
    assert rows["passages"] == ["3", "BEACON_PASSAGES"]
    assert rows["beacon_bits"] == ["auto", "default"]
    found = run("config", "list", "--json").json
    assert found["ratio"] == {"value": 8, "where": str(file)}


def test_set_keeps_the_rest(file: Path) -> None:
    file.write_text('# mine\nmodel = "a/b"  # good\nratio = "auto"\n')
    for name, value in (("ratio", "16"), ("temperature", "0.5"), ("cache_limit", "2GB"), ("beacon_bits", "auto")):
        assert run("config", "set", name, value).code == 0
    assert file.read_text() == (
        '# mine\nmodel = "a/b"  # good\nratio = 16\ntemperature = 0.5\ncache_limit = "2GB"\nbeacon_bits = "auto"\n'
    )
    assert run("config", "get", "cache_limit").out == "2000000000\n"
    assert run("config", "set", "ratio").code == 0
    assert "ratio" not in file.read_text()
    assert run("config", "get", "ratio").out == "auto\n"


def test_a_file_that_is_not_there_is_made(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "new" / "config.toml"
    monkeypatch.setenv("BEACON_CONFIG", str(target))
    assert run("config", "path").out == f"{target}\n"
    assert run("config", "set", "device", "cpu").code == 0
    assert target.read_text() == 'device = "cpu"\n'


def test_what_cannot_be_is_refused_and_not_written(file: Path) -> None:
    assert_misused(run("config", "set", "ratio", "eight"), "ratio is 'eight'", "whole number", "auto")
    assert_misused(run("config", "set", "rato", "8"), "did you mean ratio?")
    assert_misused(run("config", "get", "colour"), "unknown setting 'colour'")
    assert file.read_text() == ""
    file.write_text("ratio = \n")
    assert_misused(run("config", "set", "ratio", "8"), "cannot be read")
    file.write_text("passages = true\n")
    assert_misused(run("config", "set", "ratio", "8"), "passages is True")
    assert run("config", "set", "passages", "1").code == 0  # the wrong one itself can be put right

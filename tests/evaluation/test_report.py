"""Averages, tables, and records that outlive an interruption."""

import errno
import json
import math
from pathlib import Path

import pytest

from beacon_cli.errors import EvaluationError
from beacon_cli.evaluation.records import FILE, Journal, Measurement
from beacon_cli.evaluation.report import aggregate, caption, results, rows_of, table, write

NEEDLES = [
    Measurement(
        "full", f"{length}-{depth}-{n}", {"length": length, "depth": depth}, {"found": float(n < 3)}, None, 1.0, {}
    )
    for length in (100, 4096)
    for depth in (0.0, 0.5)
    for n in range(4)
]
TOO_LONG = [Measurement("full", "x", {"length": 8192, "depth": 0.0}, {}, "does not fit", 1.0, {})]


def test_shares_come_with_their_counts_and_intervals() -> None:
    rows = aggregate(NEEDLES + TOO_LONG, ["length"])
    assert [(row.count, row.unread, row.value) for row in rows] == [(8, 0, 0.75), (8, 0, 0.75), (0, 1, None)]
    assert rows[0].low == pytest.approx(0.409, abs=1e-3)
    columns, lines = table(rows, "length")
    assert columns == ["method (n=8)", "100", "4,096", "8,192"]
    assert lines == [["full", "75 % [41–93]", "75 % [41–93]", "too long"]]
    assert "right answers" in caption(rows, "length")
    assert "tokens" in caption(rows, "length")
    assert "too long" in caption(rows, "length")


def test_counts_that_differ_stand_in_the_cells() -> None:
    columns, lines = table(aggregate(NEEDLES[1:], ["length"]), "length")
    assert columns[0] == "method"
    assert lines == [["full", "71 % [36–92] n=7", "75 % [41–93] n=8"]]
    half_read = [*NEEDLES[:8], Measurement("full", "x", {"length": 100}, {}, "does not fit", 1.0, {})]
    assert table(aggregate(half_read, ["length"]), "length")[1] == [["full", "75 % [41–93] n=8 of 9"]]


def test_what_nobody_can_read_is_in_the_table_all_the_same() -> None:
    found = results({"task": "needle"}, "length", TOO_LONG, ["found"])
    assert table(rows_of(found), "length") == (["method", "8,192"], [["full", "too long"]])


def test_perplexity_is_of_all_tokens_alike() -> None:
    records = [
        Measurement("full", "text", {"length": 8}, {"loss": math.log(4)}, None, 3.0, {}),
        Measurement("full", "text", {"length": 8}, {"loss": math.log(2)}, None, 1.0, {}),
    ]
    (row,) = aggregate(records, ["length"])
    assert (row.metric, row.count, row.value) == ("perplexity", 4, pytest.approx(4**0.75 * 2**0.25))


def test_several_metrics_are_several_columns() -> None:
    records = [Measurement("ask", "1", {"set": "books"}, {"exact": 0.0, "f1": 0.5}, None, 1.0, {})]
    columns, lines = table(aggregate(records, ["set"]), "set")
    assert columns == ["method (n=1)", "books: exact", "books: f1"]
    assert [len(line) for line in lines] == [3]


def test_what_is_written_has_everything(tmp_path: Path) -> None:
    found = results({"task": "needle", "command": "beacon eval needle"}, "length", NEEDLES + TOO_LONG, ["found"])
    json_path, table_path = write(tmp_path, found)
    back = json.loads(json_path.read_text())
    assert rows_of(back) == rows_of(found)
    assert len(back["cells"]) == 5
    assert len(back["samples"]) == 17
    text = table_path.read_text()
    assert "beacon eval needle" in text
    assert "50 % deep" in text


def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    Journal(tmp_path, {"task": "needle"}).add(NEEDLES[:3])
    path = tmp_path / FILE
    path.write_text(path.read_text() + '[{"method": "fu')  # the power fails
    again = Journal(tmp_path, {"task": "needle"})
    assert again.records == NEEDLES[:3]
    again.add(NEEDLES[3:])
    assert Journal(tmp_path, {"task": "needle"}).records == NEEDLES
    with pytest.raises(EvaluationError, match="another evaluation"):
        Journal(tmp_path, {"task": "passkey"})


def test_going_on_leaves_what_was_measured_whole_if_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(tmp_path, {"task": "needle"}).add(NEEDLES)
    before = (tmp_path / FILE).read_text()

    def half_written(path: Path, text: str, **_: object) -> int:
        with path.open("w") as file:
            file.write(text[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", half_written)
        with pytest.raises(EvaluationError, match="No space left on device"):
            Journal(tmp_path, {"task": "needle"})
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_text() == before


def test_a_record_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"task": "needle"})
    (tmp_path / FILE).unlink()
    tmp_path.rmdir()
    with pytest.raises(EvaluationError, match=r"cannot be written.*choose another --out"):
        journal.add(NEEDLES)
    with pytest.raises(EvaluationError, match="cannot be written"):
        write(tmp_path, results({"task": "needle", "command": "beacon eval needle"}, "length", NEEDLES, ["found"]))


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("apples, pears\n")
    with pytest.raises(EvaluationError, match="another evaluation"):
        Journal(tmp_path, {"task": "needle"})
    assert (tmp_path / FILE).read_text() == "apples, pears\n"

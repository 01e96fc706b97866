"""`beacon train` at the command line: what it prints, what it refuses, and that its help is quick."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from beacon_cli.training.metrics import Metrics
from tests.cli.runner import Result, assert_misused, assert_refused, run
from tests.training.tiny_base import curve, prose, question, write_lines


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Metrics, "plot", lambda self: True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "data.jsonl", *(question(seed, words=120) for seed in range(3)))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def small(scripted_model: Path) -> tuple[str, str]:
    """For what trains, or would: a model whose window is 128 tokens, as the data's texts want it."""
    return "--model", str(scripted_model)


def train(out: Path, *arguments: object) -> Result:
    return run("train", "--out", str(out), *map(str, arguments))


def test_help_needs_no_torch() -> None:
    code = "import sys; from beacon_cli.app import main; sys.argv = ['beacon', 'train', '--help']\n"
    code += "try: main()\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--objective" in done.stdout


def test_it_reports_and_goes_on_from_its_own_settings_file(
    data: Path, out: Path, tmp_path: Path, small: tuple[str, str]
) -> None:
    first = train(
        out, data, *small, "--steps", 2, "--batch", 1, "--save-every", 1, "--objective", "ar+2*hidden", "--json"
    )
    assert first.code == 0, first.err
    assert first.json["beacon"] == str(out)
    assert first.json["steps"] == 2
    assert first.json["loss"] == curve(out)[-1][1]
    trained = sum(weight.numel() for weight in load_file(out / "beacon.safetensors").values())
    assert f" {trained:,} parameters on 3 texts" in first.err
    steps = [line.partition(", loss ")[0] for line in first.err.splitlines() if line.startswith("training: ")]
    assert steps == ["training: 50%, step 1/2", "training: 100%, step 2/2"]  # the checkpoints
    assert first.err.count("tokens/s, 0:00:") == 2
    shutil.rmtree(out / "checkpoints" / "step-000002")
    again = train(out, "--config", out / "train.toml", "--json")
    assert again.code == 0, again.err
    assert "going on after step 1" in again.err
    assert again.json["loss"] == first.json["loss"]
    quiet = train(tmp_path / "other", "--config", out / "train.toml", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, f"{tmp_path / 'other'}\n", "")
    assert curve(tmp_path / "other") == curve(out)


def test_usage(data: Path) -> None:
    assert run("train", str(data)).code == 2
    assert run("train", str(data), "--out", "x", "--shout").code == 2


def test_bad_data_is_refused_with_file_and_line(data: Path, out: Path, small: tuple[str, str]) -> None:
    with data.open("a") as file:
        file.write('{"document": "A short one.", "question": "Who?", "answer": "He"}\n')
    assert_refused(train(out, data, *small), "data.jsonl:4:", "less than one window of 128", "--skip-bad")
    write_lines(data, question(1, words=120), "{")
    assert_refused(train(out, data, *small), "data.jsonl:2:", "not JSON")
    assert not out.exists()


def test_bad_lines_can_be_skipped(data: Path, out: Path, small: tuple[str, str]) -> None:
    with data.open("a") as file:
        file.write("{\n")
    done = train(out, data, *small, "--skip-bad", "--steps", 1, "--batch", 1)
    assert done.code == 0, done.err
    assert done.err.count("note: skipped: ") == 1
    assert "data.jsonl:4: not JSON" in done.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ratios", "two"], "--ratios is 'two'; give whole numbers, like 2,4,8"),
        (["--ratios", "3"], "ratio 3 does not divide"),
        (["--attn", "segmentation"], "segmentation"),
        (["--pos", "above"], "'above'"),
        (["--train", "q,x"], "param"),
        (["--objective", "joy"], "'joy'"),
        (["--device", "tpu"], "'tpu'"),
        (["--batch", "0"], "--batch is 0"),
        (["--config", "./nowhere.toml"], "nowhere.toml cannot be read"),
    ],
)
def test_flags_that_cannot_be(data: Path, out: Path, flags: list[str], words: str) -> None:
    assert_misused(train(out, data, *flags), words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--max-tokens", "40000"], "8,192"),
        (["--max-tokens", "9000", "--objective", "distill"], "8,192"),
        (["--max-tokens", "100"], "raise --max-tokens"),
        (["--init", "./nowhere"], "nowhere"),
        (["--model", "./nowhere"], "nowhere"),
    ],
)
def test_flags_that_do_not_fit_model_or_data(data: Path, out: Path, flags: list[str], words: str) -> None:
    assert_refused(train(out, data, *flags), words)
    assert not out.exists()


def test_nothing_to_train_on(out: Path, tmp_path: Path) -> None:
    assert_misused(train(out), "nothing to train on")
    assert_refused(train(out, tmp_path / "nowhere.txt"), "nowhere.txt", "is not there")


def test_a_beacon_of_another_base_model_is_no_start(
    data: Path, out: Path, tmp_path: Path, scripted_model: Path
) -> None:
    beacon = tmp_path / "beacon"
    shutil.copytree(scripted_model / "beacon", beacon)
    path = beacon / "beacon_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_fingerprint": "0" * 64}))
    assert_refused(train(out, data, "--init", beacon), "belongs to", "--init copy")


def test_an_out_that_cannot_be_written(data: Path, tmp_path: Path, small: tuple[str, str]) -> None:
    (tmp_path / "file").write_text(prose(3))
    assert_refused(train(tmp_path / "file" / "out", data, *small, "--steps", 1), "cannot write")

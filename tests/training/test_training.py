"""Training runs: the same curve however they are cut up, and a beacon that the tool takes at once."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from beacon_cli.checkpoints import engine
from beacon_cli.errors import TrainingError
from beacon_cli.events import Note
from beacon_cli.training import learner, run_folder, trainer
from beacon_cli.training.events import Saved, TrainingBegun, TrainStep, Validated
from beacon_cli.training.metrics import Metrics
from beacon_cli.training.settings import TrainSettings
from beacon_cli.training.trainer import train, uninterrupted
from tests.cli.runner import run
from tests.training.tiny_base import SCHEME, curve, prose

STEPS = 8


def settings(base: Path, data: Path) -> TrainSettings:
    return TrainSettings(
        data=(str(data),), model=str(base), window=32, ratios=(2, 4, 8), max_tokens=160, lr=1e-2, batch=2, steps=STEPS,
        save_every=3, precision="float32", checkpoint_layers=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with `settings` that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metrics, "plot", lambda self: True)
        train(settings(base, data), folder)
    return folder


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes more time than all the rest; it has a test of its own."""
    monkeypatch.setattr(Metrics, "plot", lambda self: True)


def weights(folder: Path) -> bytes:
    return (folder / "beacon.safetensors").read_bytes()


def test_it_learns_and_leaves_what_the_other_commands_take(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = replace(settings(base, data), eval_data=(str(data),), eval_every=4, steps=12, objective="ar+distill")
    events: list[object] = []
    done = train(chosen, out, progress=events.append)
    checks = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in checks] == [0, 4, 8, 12]
    assert checks[0].losses.keys() == {"2", "4", "8", "full"}
    for ratio in ("2", "4", "8"):
        assert checks[-1].losses[ratio] < checks[0].losses[ratio]
    assert checks[-1].losses["full"] == checks[0].losses["full"]
    assert [event.step for event in events if isinstance(event, Saved)] == [3, 6, 9, 12]
    assert [path.name for path in sorted((out / "checkpoints").glob("step*"))] == ["step-000009", "step-000012"]
    steps = [event for event in events if isinstance(event, TrainStep)]
    assert (done.step, done.loss) == (12, steps[-1].loss)
    assert [(event.step, event.loss) for event in steps] == curve(out)
    assert steps[0].parts.keys() == {"ar", "distill"}
    (tmp_path / "book.txt").write_text(prose(100))
    for beacon in (out, out / "checkpoints" / "step-000009"):
        asked = run(
            "ask", str(tmp_path / "book.txt"), "Who?", "--model", str(base), "--beacon", str(beacon), "--json",
            "--max-new-tokens", "2", "--no-cache",
        )  # fmt: skip
        assert asked.code == 0, asked.err
        assert asked.json["tokens_condensed"] > 90


def validations(folder: Path) -> list[tuple[int, dict[str, float]]]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(record["step"], record["validation"]) for record in records if "validation" in record]


def in_forks(what: str, out: Path, how: str, base: Path, data: Path) -> list[str]:
    """Runs with `settings`; how each of them ended."""
    command = [sys.executable, "-m", "tests.training.forked_runs", what, str(out), how, str(data), "--model", str(base)]
    flags = [*SCHEME, "--batch", "2", "--steps", str(STEPS), "--save-every", "3", "--precision", "float32"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *flags], check=True, capture_output=True, text=True, env=environment)
    return done.stdout.splitlines()


def test_killed_at_any_moment_it_ends_with_the_same_numbers(
    base: Path, data: Path, whole: Path, tmp_path: Path
) -> None:
    *moments, end = in_forks("killed", tmp_path, "5,10,12,14,16,18,21", base, data)
    assert end == "end"
    assert len(set(moments)) >= 4, moments
    # Another process may split its products otherwise, where it has another number of threads.
    assert [step for step, _ in curve(tmp_path)] == [step for step, _ in curve(whole)]
    assert [loss for _, loss in curve(tmp_path)] == pytest.approx([loss for _, loss in curve(whole)], rel=1e-5)
    one, other = load_file(whole / "beacon.safetensors"), load_file(tmp_path / "beacon.safetensors")
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-3, rtol=1e-2)


def test_two_processes_have_the_curve_of_one(base: Path, data: Path, whole: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert in_forks("workers", tmp_path, str(port), base, data) == ["end", "end"]
    assert [loss for _, loss in curve(tmp_path)] == pytest.approx([loss for _, loss in curve(whole)], rel=1e-4)


class Stopping:
    """Hears events, and raises an error at the `count`-th of a kind."""

    def __init__(self, kind: type, count: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.kind, self.left, self.error = kind, count, error

    def __call__(self, event: object) -> None:
        self.left -= isinstance(event, self.kind)
        if not self.left:
            raise self.error


@pytest.mark.parametrize("ends", [KeyboardInterrupt, BrokenPipeError])
def test_interrupted_it_saves_and_goes_on_bit_for_bit(
    base: Path, data: Path, whole: Path, tmp_path: Path, ends: type[BaseException]
) -> None:
    cut = tmp_path / "cut"
    for steps in (1, 3):
        with pytest.raises(ends):
            train(settings(base, data), cut, progress=Stopping(TrainStep, steps, ends))
    assert (cut / "checkpoints" / "step-000004").is_dir()
    train(settings(base, data), cut)
    assert curve(cut) == curve(whole)
    assert weights(cut) == weights(whole)


def test_an_interrupt_in_the_middle_of_a_step_waits_for_its_end(
    base: Path, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    real, count = torch.optim.AdamW.step, iter(range(100))

    def interrupted(self: torch.optim.AdamW) -> None:
        if next(count) == 3:
            signal.raise_signal(signal.SIGINT)
        real(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(settings(base, data), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "checkpoints" / "step-000004").is_dir()
    train(settings(base, data), tmp_path)
    assert curve(tmp_path) == curve(whole)
    assert weights(tmp_path) == weights(whole)


def test_every_validation_is_recorded_once_however_a_run_is_cut_up(base: Path, data: Path, tmp_path: Path) -> None:
    chosen = replace(settings(base, data), eval_data=(str(data / "questions.jsonl"),), eval_every=2, steps=4)
    train(chosen, tmp_path / "whole")
    for kind, count in ((Validated, 1), (TrainStep, 2), (Saved, 1)):
        # The first is before anything is saved, the second between a step and its validation.
        with pytest.raises(KeyboardInterrupt):
            train(chosen, tmp_path / "cut", progress=Stopping(kind, count))
    train(chosen, tmp_path / "cut")
    whole, cut = (validations(tmp_path / name) for name in ("whole", "cut"))
    assert [step for step, _ in cut] == [0, 2, 4]
    assert cut == whole
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_a_finished_run_says_so_and_what_to_do_to_train_further(
    base: Path, data: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "load", lambda prepared: pytest.fail("no model is needed for that"))
    before, events = weights(whole), list[object]()
    again = train(settings(base, data), whole, progress=events.append)
    assert (again.step, again.loss) == (STEPS, curve(whole)[-1][1])
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert note.startswith("all 8 steps are done;")
    assert f"--init {whole}" in note
    assert not [event for event in events if isinstance(event, TrainingBegun)]
    assert weights(whole) == before


@pytest.mark.parametrize("how", [{"pass_tokens": 40}, {"checkpoint_layers": True}])
def test_however_texts_are_read_the_curve_is_the_same(
    base: Path, data: Path, whole: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    train(replace(settings(base, data), **how), tmp_path)
    assert [loss for _, loss in curve(tmp_path)] == pytest.approx([loss for _, loss in curve(whole)], rel=1e-4)


def test_a_beacon_is_what_training_goes_on_from(base: Path, data: Path, tmp_path: Path) -> None:
    first = replace(settings(base, data), window=None, ratios=None, max_tokens=None)
    first = replace(first, window=32, ratios=(4,), max_tokens=160)
    train(first, tmp_path / "first")
    second = replace(first, init=str(tmp_path / "first"), window=None, ratios=None, max_tokens=None, steps=1)
    train(second, tmp_path / "second")
    config = json.loads((tmp_path / "second" / "beacon_config.json").read_text())["settings"]
    assert (config["window"], config["ratios"]) == (32, [4])
    assert curve(tmp_path / "second")[0][1] < curve(tmp_path / "first")[0][1]
    with pytest.raises(TrainingError, match="projections q,k,v, not q,k"):
        train(replace(second, param=("q", "k")), tmp_path / "third")


def test_16_bit_bases_are_not_quantized(base: Path, data: Path, tmp_path: Path) -> None:
    losses = []
    for bits in (4, 16):
        train(replace(settings(base, data), bits=bits, steps=1), tmp_path / str(bits))
        losses.append(curve(tmp_path / str(bits))[0][1])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_gradients_pass_through_weights_that_stay_in_4_bits(
    base: Path, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "free_memory", lambda: 1000)
    events: list[object] = []
    train(settings(base, data), tmp_path, progress=events.append)
    assert [event for event in events if isinstance(event, Note) and "4-bit" in event.text]
    # Not exactly: dequantized weights went through another type.
    assert [loss for _, loss in curve(tmp_path)] == pytest.approx([loss for _, loss in curve(whole)], rel=0.03)


def test_a_loss_that_is_no_number_stops_it_and_leaves_the_last_checkpoint(
    base: Path, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "out", learner.text_loss
    count = iter(range(100))

    def broken(*arguments: object, **keywords: object) -> object:
        loss = real(*arguments, **keywords)  # type: ignore[arg-type]  # handed on
        # Two texts in each of four steps, and one more before the checkpoint is written.
        return replace(loss, total=loss.total * float("nan")) if next(count) == 9 else loss

    monkeypatch.setattr(learner, "text_loss", broken)
    told = (
        r"the loss is nan in step 5 \(.*(questions|tale).*--init .*step-000003, another --out and a lower --lr \(0\.01"
    )
    with pytest.raises(TrainingError, match=told):
        train(settings(base, data), out)
    assert all(tensor.isfinite().all() for tensor in load_file(out / "beacon.safetensors").values())
    monkeypatch.setattr(learner, "text_loss", real)
    train(settings(base, data), out)
    assert curve(out) == curve(whole)


def test_weights_that_one_cannot_go_on_from_are_not_saved(base: Path, data: Path, tmp_path: Path) -> None:
    wild = replace(settings(base, data), lr=1e30, warmup=0, steps=1)
    with pytest.raises(
        TrainingError, match=r"with the weights after step 1 the loss .* no number .*: give a lower --lr"
    ):
        train(wild, tmp_path / "out")
    assert not [*(tmp_path / "out").rglob("*.safetensors")]


def test_a_validation_that_is_no_number_stops_it(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "token_losses", lambda *_: torch.full((2,), float("nan")))
    with pytest.raises(
        TrainingError, match=r"the validation loss after step 0 is nan \(ratio full\): give a lower --lr"
    ):
        list(train(replace(settings(base, data), eval_data=(str(data),)), tmp_path))
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_from_it(
    base: Path, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(100))

    def full(*arguments: Any, **keywords: Any) -> None:
        # The first checkpoint writes three files; of the second one, this is the beacon that the tool takes.
        if next(count) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(*arguments, **keywords)

    monkeypatch.setattr(run_folder, "save_file", full)
    with pytest.raises(TrainingError, match=r"cannot write .*step-000006 \(No space left on device\)"):
        train(settings(base, data), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").glob("step*")] == ["step-000003"]
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "beacon.safetensors").values())
    train(settings(base, data), tmp_path)
    assert curve(tmp_path) == curve(whole)
    assert weights(tmp_path) == weights(whole)


def test_folders_that_are_no_checkpoints_are_left_alone(base: Path, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoints" / "step-000009-copy"
    copy.mkdir(parents=True)
    train(replace(settings(base, data), steps=1, save_every=1), tmp_path)
    assert copy.is_dir()


def test_weights_that_are_no_numbers_stop_it(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(settings(base, data), out, progress=Stopping(Saved, 1))
    path = out / "checkpoints" / "step-000003" / "beacon.safetensors"
    state = load_file(path)
    state["layers.0.k.weight"][0, 0] = float("inf")
    save_file(state, path)
    with pytest.raises(TrainingError, match="is nan in step 4"):
        train(settings(base, data), out)


def test_other_settings_or_data_are_refused_and_fresh_starts_over(base: Path, data: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", replace(settings(base, data), steps=1)
    train(one, out)
    first = weights(out)
    with pytest.raises(TrainingError, match=r"lr 0\.01 instead of 0\.02; seed 0 instead of 3"):
        train(replace(one, lr=0.02, seed=3), out)
    with pytest.raises(TrainingError, match="another training data"):
        list(train(replace(one, data=(str(data / "questions.jsonl"),)), out))
    assert weights(out) == first
    train(replace(one, lr=0.02), out, fresh=True)
    assert [path.name for path in (out / "checkpoints").glob("step*")] == ["step-000001"]
    assert len(curve(out)) == 1
    assert weights(out) != first


def test_a_beacon_from_elsewhere_is_not_written_over(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "beacon.safetensors").write_bytes(b"precious")
    for fresh in (False, True):
        with pytest.raises(TrainingError, match="without a run that made it"):
            train(settings(base, data), out, fresh=fresh)
    assert (out / "beacon.safetensors").read_bytes() == b"precious"


def test_two_runs_do_not_share_a_folder(base: Path, data: Path, tmp_path: Path) -> None:
    def another(event: object) -> None:
        if isinstance(event, TrainStep):
            train(settings(base, data), tmp_path / "out")

    with pytest.raises(TrainingError, match="another process is training"):
        train(settings(base, data), tmp_path / "out", progress=another)


def test_interrupts_wait_for_the_end_of_what_must_not_be_cut() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012  the end of the block is what raises
            signal.raise_signal(signal.SIGINT)
            done.append(True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert done

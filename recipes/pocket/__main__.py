"""Make a pocket model: every stage, one after the other, at one of three sizes.

    python -m recipes.pocket --data DATA --size cpu --out runs/pocket

A stage is a command line, which is printed, with the flags of the table that the size has for it (`sizes/*.toml`), and
a folder of its name in `--out`. `stages.json` there tells what each took and came to. The same command skips what is
done, goes on with what was interrupted, and makes anew what has other flags now, and all that stands behind it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SIZES = Path(__file__).parent / "sizes"
# What a rehearsal has a hundredth of, at least one; and what it leaves at a stage's own, which suits a CPU.
COUNTS = ("facts", "texts", "documents", "steps", "batch", "samples")
HASTE = ("compile", "times", "tokens", "producers")
REHEARSAL = 0.01


@dataclass(frozen=True)
class Stage:
    """A command that fills a folder.

    Attributes:
        at_most: minutes after which it is to stop with what it has, as `beacon train` does when it is interrupted.
    """

    name: str
    command: list[str]
    folder: Path
    at_most: float | None = None


@dataclass
class Entry:
    """What is told of a stage.

    Attributes:
        seconds: of all attempts.
        figures: the last line of its metrics, or the rows of its results.
    """

    name: str
    command: list[str]
    done: bool = False
    seconds: float = 0.0
    figures: Any = None


def stages(size: Mapping[str, Mapping[str, Any]], data: Path, out: Path) -> list[Stage]:
    """The stages for which a size has a table, in the order of the tables."""
    brought, model, beacon, lessons = (out / name for name in ("brought", "model", "beacon", "lessons"))
    made = ("--model", model, "--beacon", beacon)
    commands: dict[str, tuple[str | Path, ...]] = {
        "tokenizer": ("recipes.pocket.tokenizer", "--data", data),
        "base": ("recipes.pocket.pretrain", "--data", data, "--tokenizer", out / "tokenizer"),
        "brought": ("recipes.pocket.bring_up", "--data", data, "--base", out / "base" / "model"),
        "model": ("recipes.pocket.quantize", "--base", brought / "model", "--beacon", brought / "beacon"),
        "lessons": ("recipes.pocket.lessons", "--data", data, "--tokenizer", out / "tokenizer"),
        "beacon": (
            *("beacon_cli", "train", lessons / "train.jsonl", "--eval-data", lessons / "questions.jsonl"),
            *("--model", model, "--init", model / "beacon"),
        ),
        "passkey": ("beacon_cli", "eval", "passkey", *made),
        "questions": ("beacon_cli", "eval", "qa", lessons / "questions.jsonl", *made),
    }  # fmt: skip
    found = []
    for name, table in size.items():
        given = flags({key: value for key, value in table.items() if key != "at_most"})
        words = [sys.executable, "-m", *map(str, commands[name]), "--out", str(out / name), *given]
        found.append(Stage(name, words, out / name, table.get("at_most")))
    return found


def flags(table: Mapping[str, Any]) -> list[str]:
    """A table as a command line has it: `true` is the bare flag, `false` the flag's `--no-`, a list several values."""
    words = []
    for key, value in table.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


def rehearsal(size: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same models and lengths of text on the CPU, a hundredth as long, and nothing compiled."""

    def changed(key: str, value: Any) -> Any:
        if key == "minutes":
            return round(REHEARSAL * value, 4)
        return max(1, round(REHEARSAL * value)) if key in COUNTS else "cpu" if key == "device" else value

    return {
        name: {key: changed(key, value) for key, value in table.items() if key not in HASTE}
        for name, table in size.items()
    }


def make(todo: Sequence[Stage], out: Path) -> None:
    """Run all stages that are not done.

    Raises:
        SystemExit: if one fails, with its name.
    """
    # Where the shell ignores Ctrl-C for what runs behind it, stages would too, and could not be told to stop.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "stages.json"
    entries = [Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    for index, stage in enumerate(todo):
        if entries[index : index + 1] and entries[index].command == stage.command:
            if entries[index].done:
                print(f"{stage.name}: done", flush=True)
                continue
        else:
            entries[index:] = [Entry(stage.name, stage.command)]
            shutil.rmtree(stage.folder, ignore_errors=True)
        entry = entries[index]
        _write(path, entries)
        print(f"{stage.name}: {shlex.join(stage.command)}", flush=True)
        began = time.monotonic()
        try:
            code = run(stage)
        finally:
            entry.seconds = round(entry.seconds + time.monotonic() - began, 1)
            _write(path, entries)
        if code:
            raise SystemExit(f"{stage.name} failed with exit code {code}; the same command goes on there")
        entry.done, entry.figures = True, figures(stage.folder)
        _write(path, entries)


def run(stage: Stage) -> int:
    """The exit code; 0 if the stage was told to stop."""
    again = ["--resume"] if (stage.folder / "state.pt").exists() else []
    with subprocess.Popen([*stage.command, *again]) as process:
        try:
            return process.wait(None if stage.at_most is None else 60 * stage.at_most)
        except subprocess.TimeoutExpired:
            print(f"{stage.name}: {stage.at_most} minutes are over", flush=True)
            process.send_signal(signal.SIGINT)
            return 0 if process.wait() == 130 else process.returncode


def figures(folder: Path) -> Any:
    """What a stage came to, if it says so."""
    metrics, results = folder / "metrics.jsonl", folder / "results.json"
    if metrics.exists():
        return json.loads(metrics.read_text(encoding="utf-8").splitlines()[-1])
    return json.loads(results.read_text(encoding="utf-8"))["rows"] if results.exists() else None


def _write(path: Path, entries: Sequence[Entry]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", choices=sorted(path.stem for path in SIZES.glob("*.toml")), required=True)
    parser.add_argument("--out", type=Path, help="runs/pocket-SIZE, if not given")
    parser.add_argument("--to", metavar="STAGE", help="the last stage to run")
    parser.add_argument("--rehearse", action="store_true", help="a hundredth as long, on the CPU")
    options = parser.parse_args()
    size = tomllib.loads((SIZES / f"{options.size}.toml").read_text(encoding="utf-8"))
    out = options.out or Path("runs") / f"pocket-{options.size}{'-rehearsal' * options.rehearse}"
    todo = stages(rehearsal(size) if options.rehearse else size, options.data, out)
    names = [stage.name for stage in todo]
    if options.to is not None and options.to not in names:
        parser.error(f"--to {options.to}: the stages are {', '.join(names)}")
    make(todo[: names.index(options.to) + 1 if options.to else None], out)


if __name__ == "__main__":
    main()

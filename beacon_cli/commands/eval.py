"""`beacon eval`."""

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.settings import load_settings

if TYPE_CHECKING:
    from beacon_cli.evaluation.evaluating import Evaluated

METHODS = ("full", "truncated", "streaming", "beacon", "ask")
LONGEST = 4 << 20
Task = Literal["passkey", "needle", "topic", "perplexity", "qa"]


def evaluate(
    task: Annotated[Task, typer.Argument(metavar="TASK", help="passkey, needle, topic, perplexity or qa.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]",
            help="needle: the haystack; perplexity: the texts (both: The Time Machine if none is given); "
            "qa: JSON lines with question, answers, and document (a text) or path (of a file).",
        ),
    ] = None,
    model: options.Model = None,
    beacon: options.Beacon = None,
    beacon_bits: options.BeaconBits = None,
    device: options.DeviceFlag = None,
    passages: options.Passages = None,
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="N,…", help="Condensing ratios of the beacon.", show_default="4,8,16"),
    ] = None,
    lengths: Annotated[
        str,
        typer.Option(
            "--lengths",
            metavar="N,…",
            help="Tokens of the texts; 4k is 4,096. perplexity: where a bucket of positions ends and the next begins.",
        ),
    ] = "4k,8k,16k,32k",
    depths: Annotated[
        str, typer.Option("--depths", metavar="P,…", help="needle: where it is hidden, in per cent of the text.")
    ] = "0,25,50,75,100",
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            min=1,
            max=10_000,
            help="Questions for each length (needle: and depth); qa: of each file, drawn at random.",
            show_default="10; needle: 1; qa: all",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same one draws the same samples.")] = 0,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            metavar="NAME,…",
            help="full: full attention, up to the context; truncated: the middle cut out; streaming: sink and sliding "
            "window; beacon: from condensed memory alone; ask: as beacon ask does it, with passages read again.",
        ),
    ] = ",".join(METHODS),
    stream: Annotated[
        str | None,
        typer.Option(
            "--stream",
            metavar="N",
            help="streaming: tokens that sink and window hold together.",
            show_default="the model's context",
        ),
    ] = None,
    needle: Annotated[
        str | None, typer.Option("--needle", metavar="TEXT", help="needle: the sentence to hide.", show_default="own")
    ] = None,
    question: Annotated[str | None, typer.Option("--question", metavar="TEXT", help="needle: what to ask.")] = None,
    answer: Annotated[str | None, typer.Option("--answer", metavar="TEXT", help="needle: what is right.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write results.json, table.md and pictures there; interrupted, the same command goes on.",
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure what a model with its beacon can do with long texts, against the same model without."""
    _check_files(task, files or [])
    given = (needle, question, answer)
    if any(given) and (task != "needle" or not all(given)):
        raise typer.BadParameter("give --needle, --question and --answer together, and for the task needle alone")
    names = tuple(dict.fromkeys(methods.split(",")))
    if unknown := [name for name in names if name not in METHODS]:
        raise typer.BadParameter(f"unknown {unknown[0]!r}; known: {', '.join(METHODS)}", param_hint="--methods")
    if task == "perplexity":
        names = tuple(name for name in names if name != "ask")
        if not names:
            raise typer.BadParameter("perplexity asks no questions: choose other methods", param_hint="--methods")
    flags = {
        "model": model, "beacon": beacon, "beacon_bits": beacon_bits, "device": device, "passages": passages,
    }  # fmt: skip
    chosen = load_settings(flags)
    # Imported here because they import torch, which `--help` can do without.
    from beacon_cli.evaluation.evaluating import Plan, evaluate  # noqa: PLC0415  imports torch
    from beacon_cli.evaluation.needle import Needle  # noqa: PLC0415  imports torch

    plan = Plan(
        task=task,
        methods=names,
        command=shlex.join(["beacon", *sys.argv[1:]]),
        files=tuple(files or ()),
        ratios=None if ratios is None else tuple(dict.fromkeys(_numbers(ratios, "--ratios", 1))),
        lengths=tuple(sorted(set(_numbers(lengths, "--lengths", 2, LONGEST)))),
        depths=tuple(depth / 100 for depth in sorted(set(_numbers(depths, "--depths", 0, 100)))),
        samples=samples,
        seed=seed,
        needle=Needle(*map(str, given)) if needle else None,
        stream=None if stream is None else _number(stream, "--stream", 8),
        out=out,
    )
    console = Console(quiet=quiet, as_json=as_json)
    with console:
        result = evaluate(plan, chosen, console.draw)
    _show(console, result)


def _check_files(task: Task, files: list[Path]) -> None:
    if task in ("passkey", "topic") and files:
        raise typer.BadParameter(f"{task} makes its own texts: leave the files out", param_hint="FILE")
    if task == "qa" and not files:
        raise typer.BadParameter("qa needs questions: give files of JSON lines", param_hint="FILE")
    if len({file.stem for file in files}) < len(files):
        raise typer.BadParameter("two files have the same name, by which results are told apart: rename one")


def _numbers(text: str, flag: str, least: int, most: int | None = None) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    return tuple(_number(part, flag, least, most) for part in text.split(","))


def _number(text: str, flag: str, least: int, most: int | None = None) -> int:
    """A whole number; `k` after it means 1,024."""
    found = re.fullmatch(r"(\d{1,9})(k?)", text.strip().lower())
    number = int(found[1]) * (1024 if found[2] else 1) if found else -1
    if number < least or (most is not None and number > most):
        span = f"from {least} on" if most is None else f"from {least} to {most:,}"
        raise typer.BadParameter(
            f"{text!r} cannot be used; write whole numbers {span}, like 4,8 or 4k,16k", param_hint=flag
        )
    return number


def _show(console: Console, result: "Evaluated") -> None:
    if console.as_json:
        console.print_json(result.results)
        return
    console.print_table(result.columns, result.rows)
    if result.rows:
        console.note(result.results["caption"])
    for path in result.paths:
        console.note(f"written: {path}")

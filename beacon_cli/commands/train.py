"""`beacon train`."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.errors import TrainingError
from beacon_cli.training.events import Trained
from beacon_cli.training.settings import load_train_settings

_SCHEME, _LESSON, _PACE = "What beacons are", "What is learned", "How"
Flag = typer.Option


def train(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA...", help="Texts or .jsonl files to train on, or folders of them.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, Flag("--out", metavar="DIR", help="Where the beacon goes.", show_default="required")
    ] = None,
    config: Annotated[
        Path | None, Flag("--config", metavar="FILE", help="A TOML file of settings; flags count more.")
    ] = None,
    model: options.Model = None,
    init: Annotated[
        str | None,
        Flag(
            "--init",
            metavar="copy|DIR",
            help="Start from the base's projections or from a beacon.",
            show_default="copy",
        ),
    ] = None,
    device: options.DeviceFlag = None,
    bits: Annotated[
        int | None, Flag("--bits", metavar="4|16", help="Of the frozen base model's weights.", show_default="4")
    ] = None,
    precision: Annotated[
        str | None,
        Flag(
            "--precision",
            metavar="auto|bfloat16|float32",
            help="Of matrix products; auto: what is fast here.",
            show_default="auto",
        ),
    ] = None,
    window: Annotated[
        int | None, Flag("--window", metavar="N", help="Tokens in an interval.", rich_help_panel=_SCHEME)
    ] = None,
    stride: Annotated[
        int | None, Flag("--stride", metavar="N", help="How many of them are condensed.", rich_help_panel=_SCHEME)
    ] = None,
    ratios: Annotated[
        str | None, Flag("--ratios", metavar="2,4,8", help="Condensing ratios.", rich_help_panel=_SCHEME)
    ] = None,
    ratio_mix: Annotated[
        str | None,
        Flag(
            "--ratio-mix",
            metavar="MIX",
            rich_help_panel=_SCHEME,
            help="How ratios are drawn: step-random, instance-random, sequence, adapt-N.",
        ),
    ] = None,
    pos: Annotated[
        str | None, Flag("--pos", metavar="interleave|append", help="Where beacons stand.", rich_help_panel=_SCHEME)
    ] = None,
    attn: Annotated[
        str | None,
        Flag(
            "--attn",
            metavar="full-coverage|step-expansion|segmentation",
            rich_help_panel=_SCHEME,
            help="What a beacon sees of its interval.",
        ),
    ] = None,
    attend_prev: Annotated[
        bool | None,
        Flag("--attend-prev/--no-attend-prev", help="Beacons see those before them.", rich_help_panel=_SCHEME),
    ] = None,
    sink_size: Annotated[
        int | None,
        Flag("--sink-size", metavar="N", help="First entries that stay uncondensed.", rich_help_panel=_SCHEME),
    ] = None,
    param: Annotated[
        str | None,
        Flag(
            "--train", metavar="q,k,v[,o]", help="Projections that beacons have of their own.", rich_help_panel=_SCHEME
        ),
    ] = None,
    objective: Annotated[
        str | None,
        Flag(
            "--objective",
            metavar="ar+distill",
            show_default="ar",
            rich_help_panel=_LESSON,
            help="ar (the text), distill (the uncondensed model's predictions), hidden (its hidden states), or a sum "
            'such as "ar+3*hidden".',
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        Flag(
            "--max-tokens",
            metavar="N",
            help="Longest text; longer ones are cut.",
            show_default="8 windows",
            rich_help_panel=_LESSON,
        ),
    ] = None,
    pack: Annotated[
        bool | None,
        Flag(
            "--pack/--no-pack",
            show_default="no",
            rich_help_panel=_LESSON,
            help="Join texts up to --max-tokens, an end token between them; each has those before it in memory.",
        ),
    ] = None,
    skip_bad: Annotated[
        bool | None,
        Flag(
            "--skip-bad",
            help="Pass over what cannot be learned from, and name it.",
            show_default=False,
            rich_help_panel=_LESSON,
        ),
    ] = None,
    eval_data: Annotated[
        list[str] | None, Flag("--eval-data", metavar="DATA", help="To validate on.", rich_help_panel=_LESSON)
    ] = None,
    eval_every: Annotated[
        int | None,
        Flag(
            "--eval-every",
            metavar="STEPS",
            help="Between validations.",
            show_default="100",
            rich_help_panel=_LESSON,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        Flag("--lr", metavar="RATE", help="Highest learning rate.", show_default="5e-5", rich_help_panel=_PACE),
    ] = None,
    warmup: Annotated[
        int | None,
        Flag(
            "--warmup",
            metavar="STEPS",
            help="In which the rate rises; then it falls as a cosine does, to a twentieth.",
            show_default="a twentieth of all",
            rich_help_panel=_PACE,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        Flag("--weight-decay", metavar="X", help="AdamW's.", show_default="0", rich_help_panel=_PACE),
    ] = None,
    clip: Annotated[
        float | None,
        Flag("--clip", metavar="NORM", help="Longest gradient.", show_default="1", rich_help_panel=_PACE),
    ] = None,
    batch: Annotated[
        int | None,
        Flag(
            "--batch",
            metavar="N",
            help="Texts of a step, read one by one and shared among processes.",
            show_default="8",
            rich_help_panel=_PACE,
        ),
    ] = None,
    epochs: Annotated[
        float | None,
        Flag("--epochs", metavar="X", help="Rounds through the data.", show_default="1", rich_help_panel=_PACE),
    ] = None,
    steps: Annotated[
        int | None, Flag("--steps", metavar="N", help="Instead of --epochs.", rich_help_panel=_PACE)
    ] = None,
    seed: Annotated[
        int | None,
        Flag("--seed", metavar="N", help="Of the order and the ratios.", show_default="0", rich_help_panel=_PACE),
    ] = None,
    pass_tokens: Annotated[
        int | None,
        Flag(
            "--pass-tokens",
            metavar="N",
            show_default="8192",
            rich_help_panel=_PACE,
            help="Longer texts are read this many tokens at a time, and again in the backward pass.",
        ),
    ] = None,
    checkpoint_layers: Annotated[
        bool | None,
        Flag(
            "--checkpoint-layers/--no-checkpoint-layers",
            show_default="yes",
            rich_help_panel=_PACE,
            help="Compute layers again in the backward pass: a third slower, in much less memory.",
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        Flag(
            "--save-every",
            metavar="STEPS",
            help="Between checkpoints.",
            show_default="100",
            rich_help_panel=_PACE,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        Flag("--keep", metavar="N", help="Checkpoints that are kept.", show_default="2", rich_help_panel=_PACE),
    ] = None,
    fresh: Annotated[bool, Flag("--fresh", help="Forget an earlier run in DIR.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a beacon; the base model stays as it is.

    Killed at any moment, the same command goes on from the last checkpoint. Several GPUs: accelerate launch -m
    beacon_cli train …
    """
    if out is None:
        raise typer.BadParameter("name the folder that the beacon goes to", param_hint="--out")
    flags: dict[str, Any] = {
        "data": tuple(data or ()), "model": model, "init": init, "device": device, "bits": bits,
        "precision": precision, "window": window, "stride": stride,
        "ratios": None if ratios is None else _numbers(ratios), "ratio_mix": ratio_mix, "pos": pos, "attn": attn,
        "attend_prev": attend_prev, "sink_size": sink_size,
        "param": None if param is None else tuple(param.replace(" ", "").split(",")), "objective": objective,
        "max_tokens": max_tokens, "pack": pack, "skip_bad": skip_bad, "eval_data": tuple(eval_data or ()),
        "eval_every": eval_every, "lr": lr, "warmup": warmup, "weight_decay": weight_decay, "clip": clip,
        "batch": batch, "epochs": epochs, "steps": steps, "seed": seed, "pass_tokens": pass_tokens,
        "checkpoint_layers": checkpoint_layers, "save_every": save_every, "keep": keep,
    }  # fmt: skip
    settings = load_train_settings(config, flags)
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.training.trainer import train  # noqa: PLC0415  imports torch

    console = Console(quiet=quiet, as_json=as_json)
    # Closed at once when Ctrl-C comes while an event is drawn: that saves the last step.
    with closing(train(settings, out, fresh=fresh)) as events:
        for result in console.run(events):
            if isinstance(result, Trained) and as_json:
                console.print_json(_as_json(result))
            elif isinstance(result, Trained):
                console.print_line(str(result.folder))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise TrainingError(f"--ratios {text!r} is no list of whole numbers; write it like 2,4,8") from None


def _as_json(result: Trained) -> dict[str, Any]:
    return {
        "beacon": str(result.folder),
        "steps": result.steps,
        "loss": result.loss,
        "tokens": result.tokens,
        "seconds": round(result.seconds, 1),
    }

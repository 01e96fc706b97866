"""`beacon train`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.errors import SettingsError
from beacon_cli.settings import declared
from beacon_cli.training.settings import TrainSettings, load_train_settings

# What fitting a scorer heeds.
_FITTING = {"model", "device", "skip_bad"}
_FLAGS = [name for name, each in declared(TrainSettings).items() if each.option]


@options.flags(TrainSettings, *_FLAGS)
def train(
    *,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA", help="Texts or .jsonl files to train on, or folders of them.", show_default=False
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the beacon goes. Required.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML file of settings; flags count more.")
    ] = None,
    flags: options.Flags,
    scorer: Annotated[
        bool,
        typer.Option("--scorer", help="Fit a scorer instead, for selection in one pass: a matter of minutes."),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier run in DIR.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a beacon, or fit a scorer; the base model stays as it is.

    Killed at any moment, the same command goes on from the last checkpoint.

    Several GPUs: accelerate launch -m beacon_cli train …
    """
    if out is None:
        raise typer.BadParameter("name the folder that the beacon goes to", param_hint="--out")
    settings = load_train_settings(config, flags, tuple(data or ()))
    if scorer:
        unused = [declared(TrainSettings)[name].option for name in sorted(flags.keys() - _FITTING)]
        unused += ["--fresh"] * fresh + ["--config"] * (config is not None)
        if unused:
            raise SettingsError(f"a scorer is fitted in one step, without {', '.join(unused)}: leave that out")
        _fit(settings, out, as_json=as_json, quiet=quiet)
        return
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.training.trainer import train  # noqa: PLC0415  imports torch

    kept = f"the last step is kept, and the same command{' without --fresh' * fresh} goes on from there"
    with Console(quiet=quiet, as_json=as_json, kept=kept) as console:
        result = train(settings, out, fresh=fresh, progress=console.draw)
    if as_json:
        reached = {"steps": result.step, "loss": result.loss, "tokens": result.tokens}
        console.print_json({"beacon": str(out), **reached, "seconds": round(result.seconds, 1)})
    else:
        console.print_line(str(out))


def _fit(settings: TrainSettings, out: Path, *, as_json: bool, quiet: bool) -> None:
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.training.scorer import fit_scorer  # noqa: PLC0415  imports torch

    with Console(quiet=quiet, as_json=as_json) as console:
        result = fit_scorer(settings, out, console.draw)
    if as_json:
        console.print_json({**asdict(result), "path": str(result.path), "seconds": round(result.seconds, 1)})
    else:
        console.print_line(str(result.path))
        if result.agreement is not None:
            console.note(f"it keeps {result.agreement:.0%} of the rows that saying a text again does, at ratio 4")

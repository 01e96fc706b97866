"""`beacon ask`."""

from typing import Annotated

import typer

from beacon_cli.commands import options
from beacon_cli.commands.answers import show_answer
from beacon_cli.console.console import Console


def ask(
    documents: options.Documents = [],  # noqa: B006  typer hands in a list of its own
    *,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know.")],
    model: options.Model = None,
    beacon: options.Beacon = None,
    beacon_bits: options.BeaconBits = None,
    device: options.DeviceFlag = None,
    ratio: options.Ratio = None,
    pages: options.Pages = None,
    password: options.Password = None,
    max_new_tokens: options.MaxNewTokens = None,
    temperature: options.Temperature = None,
    passages: options.Passages = None,
    cache_bits: options.CacheBits = None,
    no_cache: options.NoCache = False,
    refresh: options.Refresh = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer a question about one or several documents.

    Each document is condensed once and kept; the next question about it, alone or with others, is answered at once.
    """
    if not documents:
        how = f'write it behind the documents: beacon ask {question} "who is the narrator?"'
        raise typer.BadParameter(f"the question is missing; {how}")
    flags = {
        "model": model, "beacon": beacon, "beacon_bits": beacon_bits, "device": device, "ratio": ratio,
        "max_new_tokens": max_new_tokens, "temperature": temperature, "passages": passages, "cache_bits": cache_bits,
    }  # fmt: skip
    chosen = options.gather(flags, pages=pages, password=password, no_cache=no_cache, refresh=refresh)
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli import workflows  # noqa: PLC0415  imports torch

    show_answer(Console(quiet=quiet, as_json=as_json), workflows.ask(documents, question, chosen), chosen.model)

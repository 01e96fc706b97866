"""`beacon summarize`."""

from beacon_cli.commands import options
from beacon_cli.commands.answers import show_answer
from beacon_cli.console.console import Console


def summarize(
    documents: options.Documents,
    model: options.Model = None,
    beacon: options.Beacon = None,
    beacon_bits: options.BeaconBits = None,
    device: options.DeviceFlag = None,
    ratio: options.Ratio = None,
    pages: options.Pages = None,
    password: options.Password = None,
    max_new_tokens: options.MaxNewTokens = None,
    temperature: options.Temperature = None,
    cache_bits: options.CacheBits = None,
    no_cache: options.NoCache = False,
    refresh: options.Refresh = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Summarize one or several documents."""
    flags = {
        "model": model, "beacon": beacon, "beacon_bits": beacon_bits, "device": device, "ratio": ratio,
        "max_new_tokens": max_new_tokens, "temperature": temperature, "cache_bits": cache_bits,
    }  # fmt: skip
    chosen = options.gather(flags, pages=pages, password=password, no_cache=no_cache, refresh=refresh)
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli import workflows  # noqa: PLC0415  imports torch

    show_answer(Console(quiet=quiet, as_json=as_json), workflows.summarize(documents, chosen), chosen.model)

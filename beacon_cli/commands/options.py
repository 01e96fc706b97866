"""Flags that several commands share, and what they add up to. Imports nothing heavy: `--help` needs this."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from beacon_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.workflows import Options

Documents = Annotated[
    list[str],
    typer.Argument(
        metavar="DOC",
        help="Files, folders (all documents in them), patterns, or - for standard input.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR|HUB-ID", help="Base model.", show_default="beacon-pocket, built in"),
]
Beacon = Annotated[
    str | None,
    typer.Option("--beacon", metavar="DIR|HUB-ID", help="Its beacon.", show_default="the folder beacon in the model's"),
]
BeaconBits = Annotated[
    str | None,
    typer.Option(
        "--beacon-bits",
        metavar="16|4",
        help="Bits of the beacon's own weights; 4 takes a quarter of the memory.",
        show_default="as they are stored; 16 when a model is converted",
    ),
]
DeviceFlag = Annotated[
    str | None, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.", show_default="auto")
]
Ratio = Annotated[
    str | None,
    typer.Option(
        "--ratio", metavar="N|auto", help="Condensing ratio; auto takes the smallest that fits.", show_default="auto"
    ),
]
Pages = Annotated[str | None, typer.Option("--pages", metavar="1-50,60-", help="Read only these pages.")]
Password = Annotated[
    str | None,
    typer.Option("--password", envvar="BEACON_PASSWORD", help="Password of an encrypted PDF.", show_envvar=True),
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Condense anew, whatever the cache has.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Keep the condensed document in memory only; write none of it.")
]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", metavar="N", help="Longest answer.", show_default="256")
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", metavar="T", help="0 always takes the likeliest token.", show_default="0"),
]
Passages = Annotated[
    int | None,
    typer.Option(
        "--passages",
        metavar="N",
        help="Passages of the document to read again before answering; 0 answers from the condensed memory alone.",
        show_default="2",
    ),
]
CacheBits = Annotated[
    int | None,
    typer.Option(
        "--cache-bits",
        metavar="16|8|4",
        help="Bits of a stored activation; 16 keeps them as they were computed, 8 and 4 take less disk and blur them.",
        show_default="16",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


def gather(
    flags: dict[str, Any],
    *,
    pages: str | None,
    password: str | None,
    no_cache: bool = False,
    refresh: bool = False,
) -> "Options":
    """Options for a workflow from flags, environment and configuration file.

    Raises:
        SettingsError: for values that cannot be used.
    """
    settings: Settings = load_settings(flags)
    # Imported here because it imports torch, which `--help` and usage errors can do without.
    from beacon_cli.documents import PageSelection  # noqa: PLC0415  imports torch
    from beacon_cli.workflows import Options  # noqa: PLC0415  imports torch

    return Options(
        model=settings.model,
        beacon=settings.beacon,
        beacon_bits=settings.beacon_bit_count,
        device=settings.device,  # type: ignore[arg-type]  # checked by Settings
        ratio=settings.condensing_ratio,
        pages=None if pages is None else PageSelection.parse(pages),
        password=password,
        use_cache=not no_cache,
        refresh=refresh,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        passages=settings.passages,
        cache_bits=settings.cache_bits,
        cache_limit=settings.cache_bytes,
    )

"""`beacon models …`: list, show, pull, convert, remove."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beacon_cli.cache.store import default_root
from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.console.tables import Column
from beacon_cli.errors import ModelError
from beacon_cli.quantities import format_size
from beacon_cli.settings import DEFAULTS, Settings, load_settings

if TYPE_CHECKING:
    from beacon_cli.checkpoints.catalogue import KnownModel

app = typer.Typer(no_args_is_help=True, help="Models that can read documents, and what of them is on this disk.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A short name, a hub id (owner/name), or a GGUF file there (owner/name/FILE.gguf, owner/name:Q4_K_M).",
    ),
]
_FETCHED = "what is downloaded is kept, and the same command goes on from there"
RemoveDownload = Annotated[
    bool,
    typer.Option("--remove-download", help="Then delete the download; the converted model does without it."),
]


@app.command("list")
def list_models(as_json: options.Json = False) -> None:
    """List the models that are known and those on this disk.

    LLMs with short names: the memory is that of their weights in 16 bits; what does not fit twice runs slowly.
    """
    from beacon_cli.checkpoints.inventory import known_models  # noqa: PLC0415 (takes time that `--help` can do without)

    console, found = Console(), known_models()
    if as_json:
        console.print_json([_entry(model) for model in found])
        return
    spare = {"licence": 8, "context": 7, "ratios": 6, "window": 5, "condense": 4, "base": 3, "size": 2, "memory": 1}
    titles = ("id", "base", "condense", "window", "ratios", "licence", "context", "size", "memory", "fits", "state")
    columns = [Column(title, keep=title == "id", drop=spare.get(title, 0)) for title in titles]
    console.print_table(columns, [_row(model) for model in found])


@app.command("show")
def show(name: Name, as_json: options.Json = False) -> None:
    """Show what is known of one model."""
    from beacon_cli.checkpoints.inventory import known_model  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.memory import free_memory  # noqa: PLC0415 (as above)

    console, entry = Console(), _entry(known_model(name))
    if as_json:
        console.print_json(entry)
        return
    sizes = ("size", "download", "to_fetch", "memory")
    entry |= {field: format_size(entry[field]) for field in sizes if entry[field]}
    if entry["fits"]:
        entry["fits"] = f"{entry['fits']}, {format_size(free_memory())} of memory are free"
    console.print_record({field: value for field, value in entry.items() if value})


@app.command("pull")
@options.flags(Settings, "beacon_bits")
def pull(
    name: Name,
    *,
    flags: options.Flags,
    no_convert: Annotated[bool, typer.Option("--no-convert", help="Only download.")] = False,
    remove_download: RemoveDownload = False,
    quiet: options.Quiet = False,
) -> None:
    """Download a model and convert it, to 4 bits or of a GGUF file to 16; the converted model's folder is printed.

    Interrupted at any moment, the same command goes on where it was. What is here and up to date is left as it is.
    """
    from beacon_cli.checkpoints import default_model  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.hub.repository import resolve_model  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.local.model_folder import local_model  # noqa: PLC0415 (as above)

    if local_model(name):
        raise ModelError(f"{name} is on this disk; `beacon models convert {name}` converts it")
    if no_convert:
        if remove_download or flags:
            flag = "--remove-download" if remove_download else "--beacon-bits"
            raise typer.BadParameter(f"{flag} is for what is converted: leave it or --no-convert out")
        with Console(quiet=quiet, kept=_FETCHED) as console:
            folder = resolve_model(name, kind="model", check=_check_if_merged, progress=console.draw)
        console.print_line(str(folder))
        return
    if name == DEFAULTS.model and default_model.base_file() is None:
        # Its base is what is fetched; asking it a question never fetches anything.
        with Console(quiet=quiet, kept=_FETCHED) as console:
            resolve_model(name, kind="model", progress=console.draw)
    _convert(Console(quiet=quiet, kept=_FETCHED), name, None, flags, remove_download)


@app.command("convert")
@options.flags(Settings, "beacon_bits")
def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="DIR|ID|FILE.gguf", help="A checkpoint, base and beacon in one, or a GGUF file."),
    ],
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="The folder to make.")] = None,
    *,
    flags: options.Flags,
    remove_download: RemoveDownload = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert a published checkpoint to a 4-bit model with a beacon, or a GGUF file to a model in 16 bits.

    The folder that is made is printed, and is all that later starts read. The checkpoint itself is not changed.
    """
    _convert(Console(quiet=quiet), source, to, flags, remove_download)


@app.command("rm")
def remove(
    name: Name,
    download: Annotated[bool, typer.Option("--download", help="Delete what was downloaded, too.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove a converted model from this disk. Documents that it condensed stay in the cache."""
    from beacon_cli.checkpoints.inventory import known_model  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.local.converted import remove  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.local.hub_cache import remove_download, repository_of  # noqa: PLC0415 (as above)

    console, model = Console(quiet=quiet), known_model(name)
    if not model.folder and not (download and model.download):
        hint = "; its download is, and goes with --download" if model.download else ": there is nothing to remove"
        raise ModelError(f"{name} is not converted on this disk{hint}")
    if model.folder:
        remove(model.folder, default_root())
        console.note(f"removed {model.folder}")
    if download and model.download:
        remove_download(model.id)
        console.note(f"removed the download of {repository_of(model.id)} ({format_size(model.download)})")


def _convert(console: Console, source: str, to: Path | None, flags: options.Flags, remove_download: bool) -> None:
    from beacon_cli.checkpoints.local import hub_cache  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.local.model_folder import local_model  # noqa: PLC0415 (as above)
    from beacon_cli.checkpoints.obtain import obtain  # noqa: PLC0415 (as above)

    settings = load_settings(flags)
    bits = settings.beacon_bits
    target = None if to is None else to.expanduser().absolute()
    with console:
        folder = obtain(source, beacon_bits=bits, cache=default_root(), target=target, progress=console.draw)
    if remove_download and local_model(source):
        console.note(f"{source} was not downloaded by this tool and stays where it is")
    elif remove_download:
        hub_cache.remove_download(source)
    console.print_line(str(folder))


def _check_if_merged(folder: Path) -> None:
    """Whose import takes seconds, which a GGUF file can do without."""
    from beacon_cli.checkpoints.convert.merged import check_if_merged  # noqa: PLC0415 (as above)

    check_if_merged(folder)


def _entry(model: "KnownModel") -> dict[str, Any]:
    return asdict(model) | {
        "base": model.base or None,
        "prompts": model.prompts or None,
        "licence": model.licence or "see its model card",
        "source": model.source or None,
        "folder": str(model.folder) if model.folder else None,
        "memory": model.memory,
        "fits": model.fits,
    }


def _row(model: "KnownModel") -> list[str]:
    return [
        model.id,
        model.base or "?",
        model.condense,
        str(model.window or "?"),
        " ".join(map(str, model.ratios)) or ("any" if model.condense != "beacon" else "?"),
        model.licence or "see its model card",
        str(model.context or "?"),
        format_size(size) if (size := model.size or model.download or model.to_fetch) else "-",
        format_size(model.memory) if model.memory else "?",
        model.fits or "?",
        model.state,
    ]

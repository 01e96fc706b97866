"""`beacon config …`: what is set, and where."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.console.tables import Column
from beacon_cli.durable.files import write_durably
from beacon_cli.errors import BeaconError, CacheError, SettingsError
from beacon_cli.quantities import format_size, parse_size
from beacon_cli.settings import Setting, Settings, check_values, config_path, declared, nearest, trace_settings

app = typer.Typer(no_args_is_help=True, help="Defaults of flags: what they are, and where they come from.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A setting, see `config list`.")]


@app.command("list")
def list_settings(as_json: options.Json = False) -> None:
    """List all settings with their values, and whether a variable, the configuration file or nobody set them."""
    console, origins = Console(), trace_settings({})
    if as_json:
        console.print_json({name: asdict(origin) for name, origin in origins.items()})
        return
    rows = [
        [name, _shown(each, origins[name].value), origins[name].where, each.help]
        for name, each in declared(Settings).items()
    ]
    columns = [Column("setting", keep=True), Column("value", keep=True), Column("from"), Column("meaning", drop=1)]
    console.print_table(columns, rows)


@app.command("get")
def get(name: Name) -> None:
    """Print the value of one setting."""
    each = _setting(name)
    Console().print_line(_written(each, trace_settings({})[name].value))


@app.command("set")
def set_(
    name: Name,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="Without one, the default counts again.", show_default=False)
    ] = None,
) -> None:
    """Set a default in the configuration file; the rest of the file stays as it is."""
    import tomlkit  # noqa: PLC0415  takes time that `--help` can do without
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415  as above

    each, path = _setting(name), config_path()
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except (OSError, ValueError, TOMLKitError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); correct or remove it") from None
    if value is None:
        document.pop(name, None)
    else:
        read = each.from_text(value, name)
        # As it was written, if only the text can say it: auto, 2GB.
        document[name] = value if read is None or each.read else read
    check_values(document.unwrap(), str(path), Settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path.resolve(), tomlkit.dumps(document).encode())
    except (OSError, CacheError) as error:
        reason = error.__cause__ or error
        raise BeaconError(f"cannot write {path} ({reason}); name another file in BEACON_CONFIG") from None


@app.command("path")
def path() -> None:
    """Print where the configuration file is."""
    Console().print_line(str(config_path()))


def _setting(name: str) -> Setting:
    table = declared(Settings)
    if name not in table:
        raise SettingsError(f"unknown setting {name!r}{nearest(name, table)}; known: {', '.join(table)}")
    return table[name]


def _written(each: Setting, value: Any) -> str:
    """A value as it is typed; empty for none."""
    return each.none or "" if value is None else str(value)


def _shown(each: Setting, value: Any) -> str:
    """A value for people; a dash for none."""
    return format_size(value) if value is not None and each.read is parse_size else _written(each, value) or "-"

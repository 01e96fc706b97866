"""`beacon summarize`."""

from beacon_cli.commands import options
from beacon_cli.commands.answers import answer_from
from beacon_cli.console.console import Console
from beacon_cli.settings import Settings, load_settings


@options.flags(Settings, *(name for name in options.ANSWERING if name not in ("passages", "template")))
def summarize(
    documents: options.Documents,
    *,
    flags: options.Flags,
    pages: options.Pages = None,
    password: options.Password = None,
    no_cache: options.NoCache = False,
    refresh: options.Refresh = False,
    ocr: options.Ocr = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Summarize one or several documents."""
    how = options.HowToRead(pages, password, not no_cache, refresh, ocr)
    answer_from(documents, None, load_settings(flags), how, Console(quiet=quiet, as_json=as_json, kept=how.kept))

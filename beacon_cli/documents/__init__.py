"""Documents as pages of text: PDF, plain text, Markdown, HTML, EPUB and Word, from a file or standard input."""

from beacon_cli.documents.document import Document, Page, Source
from beacon_cli.documents.opening import open_document
from beacon_cli.documents.selection import PageSelection
from beacon_cli.documents.worker.limits import Limits

# Counts up when the same file would give another text: what was condensed from the old one is another memory.
TEXT_VERSION = 5

__all__ = ["TEXT_VERSION", "Document", "Limits", "Page", "PageSelection", "Source", "open_document"]

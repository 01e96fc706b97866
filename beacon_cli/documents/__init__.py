"""Documents as pages of text: PDF, plain text and Markdown, from a file or from standard input."""

from beacon_cli.documents.document import Document, Page, Source
from beacon_cli.documents.opening import open_document
from beacon_cli.documents.pages import PageSelection

# Counts up when the same file would give another text: what was condensed from the old one is another memory.
TEXT_VERSION = 1

__all__ = ["TEXT_VERSION", "Document", "Page", "PageSelection", "Source", "open_document"]

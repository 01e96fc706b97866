"""`beacon`: read a whole document once, keep it condensed, and answer questions about it."""

__version__ = "0.1.0"

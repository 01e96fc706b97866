"""From documents to one memory: measured, condensed interval by interval or loaded from the cache, placed together."""

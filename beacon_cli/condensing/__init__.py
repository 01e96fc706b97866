"""From documents to a memory: found, measured, condensed into the cache or out of it, placed together."""

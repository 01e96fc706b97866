"""Answering from a memory: search, prompts, decoding, and where in the documents an answer stands."""

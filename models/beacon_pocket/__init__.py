"""The embedded default model: a small LLM in 4-bit with its beacon; what it can do is in its model card."""

from pathlib import Path

FOLDER = Path(__file__).parent / "model"

SUMMARY_NOTE = (
    "beacon-pocket is too small to summarize well: take this as a glimpse, and choose a larger model with --model"
)

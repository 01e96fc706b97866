"""What the default model has beside its base: a reader (LoRA) and a beacon; what they can do is in their model card."""

from pathlib import Path

FOLDER = Path(__file__).parent

SUMMARY_NOTE = (
    "smollm2-135m is too small to summarize well: take this as a glimpse, and choose a larger model with --model"
)

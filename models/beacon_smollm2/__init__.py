"""What the default model has beside its base: a reader (LoRA) and a beacon; what they can do is in their model card."""

from pathlib import Path

FOLDER = Path(__file__).parent

SUMMARY_NOTE = (
    "smollm2-135m is too small to summarize well: take this as a glimpse, and choose a larger model with --model"
)
# The condensed memory of a long text distracts it. Of twelve questions about examples/world-factbook.pdf (47,405 tokens
# at ratio 8) it answered 5, 7 and 6 rightly from 2, 4 and 8 passages alone, and 3 from 2 passages after the memory (the
# beacon's). Of ten about a PDF of 9,996 tokens at ratio 2, it answered 6 from passages alone, and 2 after the scorer's.
PASSAGES_FIRST = True

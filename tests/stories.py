"""Documents to ask about, written by the tests themselves."""

FILLER = (
    "The road went on between low walls, and nobody spoke for a while. A cart passed them near the mill. "
    "Rain had fallen in the night and the ditches were full. They rested twice before noon, and ate what they had. "
)
FACT = "The keeper of the Morvane lighthouse is called Edda Voss."
WHO_KEEPS = "Who is the keeper of the Morvane lighthouse?"


def story(paragraphs: int, fact_at: int | None = None) -> str:
    """So many paragraphs of about 80 tokens, with the fact as one of them."""
    parts = [f"{FILLER}It was day {number}." for number in range(paragraphs)]
    if fact_at is not None:
        parts[fact_at] = FACT
    return "\n\n".join(parts) + "\n"

"""What stands before and after a document when the model is asked about it.

The default model was trained to answer in exactly these words (`recipes/smollm2` takes them from here).
"""

from collections.abc import Sequence

RULE = "\n\n---\n\n"
AGAIN = "Passages read again:\n\n"
# What the default model answers where the text does not say.
REFUSAL = "The text does not say."


def question_text(question: str, passages: Sequence[str] = (), *, first: bool = True) -> str:
    """What is said of a question in its message; `passages` are read again before it.

    Args:
        first: whether the document stands before it in the same message; if not, it goes on after an answer.
    """
    again = AGAIN + "\n\n".join(passages) + RULE if passages else ""
    return f"{RULE if first else ''}{again}Question: {question}"


def summary_text(documents: int, length: int | None = None) -> str:
    """What follows the documents in a summary's message; `length` is in words, None for a few sentences."""
    size = "a few sentences" if length is None else f"about {length} words"
    return f"{RULE}Summarize the {'text' if documents == 1 else 'texts'} above in {size}."

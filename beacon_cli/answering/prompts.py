"""What stands before and after a document when the model is asked about it."""

from collections.abc import Sequence

RULE = "\n\n---\n\n"


def question_text(question: str, passages: Sequence[str]) -> str:
    """What follows the document in a question's message; `passages` are read again before the question."""
    again = f"{RULE}Passages read again:\n\n" + "\n\n".join(passages) if passages else ""
    return f"{again}{RULE}Question: {question}"


def summary_text(documents: int) -> str:
    """What follows the documents in a summary's message."""
    return f"{RULE}Summarize the {'text' if documents == 1 else 'texts'} above in a few sentences."

"""What stands before and behind a document when the model is asked about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from beacon_cli.tokenization.tokenizer import Tokenizer

RULE = "\n\n---\n\n"


@dataclass(frozen=True)
class Frame:
    """Token ids that the chat template puts before and behind the user's message."""

    opening: tuple[int, ...]
    closing: tuple[int, ...]


def chat_frame(tokenizer: Tokenizer) -> Frame:
    """The frame of a single user message that is to be answered.

    Raises:
        ModelError: if the chat template drops or repeats the message.
    """
    opening, closing = tokenizer.split_prompt(lambda text: [{"role": "user", "content": text}])
    return Frame(tuple(opening), tuple(closing))


def question_text(question: str, passages: Sequence[str]) -> str:
    """What follows the document in a question's message; `passages` are read again before the question."""
    again = f"{RULE}Passages read again:\n\n" + "\n\n".join(passages) if passages else ""
    return f"{again}{RULE}Question: {question}"


def name_text(document: str) -> str:
    """What stands before a document that is one of several."""
    return f"---\n\n{document}\n\n"


def summary_text(documents: int) -> str:
    """What follows the documents in a summary's message."""
    return f"{RULE}Summarize the {'text' if documents == 1 else 'texts'} above in a few sentences."

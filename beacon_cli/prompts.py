"""What stands before and behind a document when the model is asked about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from beacon_cli.errors import ModelError
from beacon_cli.tokenizer import Tokenizer

# Stands for the user's text while the chat template is rendered; private-use characters, which no template contains.
SENTINEL = "\ue000\ue001\ue002"
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
    parts = tokenizer.render([{"role": "user", "content": SENTINEL}]).split(SENTINEL)
    if len(parts) != 2:
        raise ModelError("the model's chat template does not carry a user message unchanged; use another model")
    return Frame(tuple(tokenizer.encode_prompt(parts[0])), tuple(tokenizer.encode_prompt(parts[1])))


def question_text(question: str, passages: Sequence[str]) -> str:
    """What follows the document in a question's message; `passages` are read again before the question."""
    again = f"{RULE}Passages read again:\n\n" + "\n\n".join(passages) if passages else ""
    return f"{again}{RULE}Question: {question}"


SUMMARY_TEXT = f"{RULE}Summarize the text above in a few sentences."

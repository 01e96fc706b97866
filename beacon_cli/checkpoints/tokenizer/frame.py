"""What the chat template puts around the user's message."""

from dataclasses import dataclass

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Frame:
    """Token ids before and after the message."""

    opening: tuple[int, ...]
    closing: tuple[int, ...]


def chat_frame(tokenizer: Tokenizer) -> Frame:
    """The frame of a single user message that is to be answered.

    Raises:
        ModelError: if the chat template drops or repeats the message.
    """
    opening, closing = tokenizer.split_prompt(lambda text: [{"role": "user", "content": text}])
    return Frame(tuple(opening), tuple(closing))

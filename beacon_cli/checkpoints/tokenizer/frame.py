"""What the chat template puts around the user's message."""

from dataclasses import dataclass

from beacon_cli.checkpoints.tokenizer.tokenizer import Messages, Tokenizer
from beacon_cli.errors import ModelError


@dataclass(frozen=True)
class Frame:
    """Token ids before and after the message."""

    opening: tuple[int, ...]
    closing: tuple[int, ...]


def chat_frame(tokenizer: Tokenizer, system: str | None = None) -> Frame:
    """The frame of a single user message that is to be answered.

    Args:
        system: what stands in front of it in a message of its own; None leaves that to the template.

    Raises:
        ModelError: if the chat template drops or repeats the message, or has no place for a system message.
    """

    def messages(text: str) -> Messages:
        user = {"role": "user", "content": text + tokenizer.asks_not_to_think}
        return [user] if system is None else [{"role": "system", "content": system}, user]

    if system is not None:
        try:
            placed = system.strip() in tokenizer.render(messages(""))
        except ModelError:
            placed = False
        if not placed:
            raise ModelError("the model's chat template has no place for a system message: leave --system out")
    opening, closing = tokenizer.split_prompt(messages)
    return Frame(tuple(opening), tuple(closing))

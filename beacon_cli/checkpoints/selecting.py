"""How a model selects what stays of a text (`activation_beacon.selection`)."""

from activation_beacon.selection import Selection
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer

INSTRUCTION = "\n\n---\n\nRepeat the text above, word for word."
# Larger intervals keep more of what is asked for later; but saying one again takes it twice, beside the memory.
WINDOW, WINDOWS_IN_CONTEXT = 2048, 8
# The first tokens of a text, which much of the attention goes to whatever they are.
SINK = 4


def selection_of(tokenizer: Tokenizer, frame: Frame, context: int) -> Selection:
    """How a model of so many positions selects: the prompt's opening stays, and it is asked in a turn of the chat.

    Raises:
        ConfigError: if the opening takes all of an interval.
    """
    return Selection(
        window=min(WINDOW, context // WINDOWS_IN_CONTEXT),
        sink=max(SINK, len(frame.opening)),
        instruction=(*tokenizer.encode(INSTRUCTION), *frame.closing),
    )

"""How a model that has no beacon condenses: by selection, see `activation_beacon.selection`."""

from pathlib import Path

from activation_beacon.checkpoint import CONFIG_FILE
from activation_beacon.scorer import SCORER_FILE
from activation_beacon.selection import Selection
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.settings import Condense

# What stands in a beacon's place, where caches and results say what condensed.
SELECT: Condense = "select"
# `auto` takes the smallest of these that fits; with `--ratio`, any from 1 (all is kept) to the last will do.
RATIOS = (2, 4, 8, 16, 32)
INSTRUCTION = "\n\n---\n\nRepeat the text above, word for word."
# Larger intervals keep more of what is asked for later; but saying one again takes it twice, beside the memory.
WINDOW, WINDOWS_IN_CONTEXT = 2048, 8
# The first tokens of a text, which much of the attention goes to whatever they are.
SINK = 4


def condensers(folder: Path | None) -> tuple[Condense, ...]:
    """What the folder of a beacon, of a scorer or of both brings, the beacon first."""
    if folder is None or not folder.is_dir():
        return ()
    scorer = (folder / SCORER_FILE).exists()
    # What is in neither is told of when it is read.
    beacon = (folder / CONFIG_FILE).exists() or not scorer
    return (*(("beacon",) if beacon else ()), *(("scorer",) if scorer else ()))


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

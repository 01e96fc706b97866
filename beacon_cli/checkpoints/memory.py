"""How much main memory there is for a model's weights."""

from pathlib import Path
from typing import Literal

import psutil

# Of the free memory, how much dequantized weights may take: the rest is for activations and the condensed memory.
WEIGHTS_SHARE = 0.7
# Of this process, as it sees it (version 2).
CONTROL_GROUP = Path("/sys/fs/cgroup")
Fit = Literal["yes", "slowly", "no"]


def fit_of_16_bits(parameters: int) -> Fit:
    """Whether an LLM that is kept in 16 bits fits here on the CPU: in float32, or only in bfloat16, which is slow."""
    room = WEIGHTS_SHARE * free_memory()
    return "yes" if 4 * parameters <= room else "slowly" if 2 * parameters <= room else "no"


def free_memory() -> int:
    """Bytes of main memory that are available, within the limits of the control group this process is in."""
    available = int(psutil.virtual_memory().available)
    # What psutil knows is the machine's; a container may have less.
    limit, used = CONTROL_GROUP / "memory.max", CONTROL_GROUP / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        available = min(available, int(text) - int(used.read_text()))
    return max(available, 0)

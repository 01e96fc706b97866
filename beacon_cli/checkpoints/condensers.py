"""What condenses: a beacon, a scorer, or selection by itself (`activation_beacon.selection`), by what was measured.

What an adapter was measured to keep, a file beside it says. `measured.json` is {"kept": {"scorer": {"2": 0.97, …}, …}}:
of what condenses, at each ratio, the share of full attention's right answers that is still right from condensed memory
alone (`benchmarks/selection.py`).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from activation_beacon.files import CONFIG_FILE, SCORER_FILE
from beacon_cli.checkpoints.local.model_folder import MEASURED, read_settings
from beacon_cli.errors import ModelError
from beacon_cli.settings import Condense

Kept = dict[Condense, dict[int, float]]

# What stands in a beacon's place, where caches and results say what condensed.
SELECT: Condense = "select"
# `auto` takes the smallest of these that fits; with `--ratio`, any from 1 (all is kept) to the last will do.
RATIOS = (2, 4, 8, 16, 32)


def condensers(folder: Path | None) -> tuple[Condense, ...]:
    """What the folder of a beacon, of a scorer or of both brings, the beacon first."""
    if folder is None or not folder.is_dir():
        return ()
    scorer = (folder / SCORER_FILE).exists()
    # What is in neither is told of when it is read.
    beacon = (folder / CONFIG_FILE).exists() or not scorer
    return (*(("beacon",) if beacon else ()), *(("scorer",) if scorer else ()))


def read_kept(folder: Path | None) -> Kept:
    """What is known of the adapters in `folder`, by what condenses and the ratio; nothing if no file says.

    Raises:
        ModelError: if the file is damaged.
    """
    if folder is None or not (folder / MEASURED).exists():
        return {}
    kept = read_settings(folder, MEASURED).get("kept")
    if not isinstance(kept, dict) or not all(name in get_args(Condense) and _is_shares(kept[name]) for name in kept):
        raise ModelError(f"{folder / MEASURED} is damaged (no shares by ratio): download the adapter again")
    return {name: {int(ratio): float(share) for ratio, share in kept[name].items()} for name in kept}


def best_condenser(folder: Path | None) -> Condense:
    """Of what is in `folder`, and selection by itself, what keeps most, over all ratios; if nothing was measured, the
    first: a beacon before a scorer.

    Raises:
        ModelError: if what was measured cannot be read.
    """
    kept = read_kept(folder)
    return max((*condensers(folder), SELECT), key=lambda name: sum(kept.get(name, {}).values()))


def _is_shares(shares: Any) -> bool:
    return isinstance(shares, Mapping) and all(
        ratio.isascii() and ratio.isdigit() and type(share) in (int, float) and math.isfinite(share) and share >= 0
        for ratio, share in shares.items()
    )

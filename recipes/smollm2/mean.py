"""Readers averaged weight by weight: of several runs that began at the same weights, and of these.

    python -m recipes.smollm2.mean OUT READER READER ...

leaves `reader.safetensors` and `reader.json` in OUT; the folder named first is what the others began with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from beacon_cli.checkpoints.local.model_folder import READER, READER_CONFIG
from recipes.smollm2.further import mean


def main(words: list[str] | None = None) -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("readers", type=Path, nargs="+")
    options = parser.parse_args(words)
    states = [{name: each.float() for name, each in load_file(folder / READER).items()} for folder in options.readers]
    made, *others = [json.loads((folder / READER_CONFIG).read_text("utf-8")) for folder in options.readers]
    options.out.mkdir(parents=True, exist_ok=True)
    save_file({name: each.bfloat16() for name, each in mean(states).items()}, options.out / READER, {"format": "pt"})
    further = {"runs": len(others), "tokens": sum(each["further"]["tokens"] for each in others)}
    (options.out / READER_CONFIG).write_text(json.dumps(made | {"further": further}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Turn the trained language model into the 4-bit base that everything after it uses.

    python -m recipes.pocket.quantize --base BROUGHT/model --beacon BROUGHT/beacon --out runs/pocket/model

Projections become NF4 with double quantization; embeddings, norms and the beacon, bfloat16. The beacon that was brought
up with the model goes with it, to `beacon/` in the same folder, and belongs to the quantized weights from then on:
`beacon train` starts from there, with the very weights that it will be used with.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from activation_beacon.checkpoint import WEIGHTS_FILE, read_info, save_info
from beacon_cli.checkpoints.fingerprint import model_fingerprint


def adopt(beacon: Path, model: Path) -> None:
    """Puts a beacon, in bfloat16, into the folder `model`, whose fingerprint it gets."""
    with tempfile.TemporaryDirectory() as cache:
        fingerprint = model_fingerprint(model, Path(cache))
    (model / "beacon").mkdir(exist_ok=True)
    state = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(beacon / WEIGHTS_FILE).items()}
    save_file(state, model / "beacon" / WEIGHTS_FILE, metadata={"format": "pt"})
    save_info(model / "beacon", replace(read_info(beacon), base_fingerprint=fingerprint))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--beacon", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        options.base, dtype=torch.bfloat16, quantization_config=quantization, device_map={"": "cpu"}
    )
    model.save_pretrained(options.out)
    AutoTokenizer.from_pretrained(options.base).save_pretrained(options.out)
    adopt(options.beacon, options.out)
    for file in sorted(options.out.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:>10,}  {file.name}")


if __name__ == "__main__":
    main()

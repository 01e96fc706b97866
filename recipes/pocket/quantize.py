"""Turn the trained language model into the 4-bit base that everything after it uses.

    python -m recipes.pocket.quantize --base runs/pocket/base/model --out models/beacon_pocket/model

Projections become NF4 with double quantization, embeddings and norms bfloat16. The beacon is trained on this folder,
dequantized: it then meets the very weights that it will be used with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
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
    for file in sorted(options.out.iterdir()):
        if file.is_file():
            print(f"{file.stat().st_size:>10,}  {file.name}")


if __name__ == "__main__":
    main()

"""Make beacons unseen in the first layers, where they have nothing to say yet.

    python -m recipes.pocket.quiet_beacons --data DATA --base models/beacon_pocket/model --beacon runs/pocket/beacon

In layer 0 all beacons are one and the same vector, and in layer 1 they know little; but thousands of them take
attention away from the few raw tokens that matter there, until nothing is copied any more. This trains the key
projections of the beacons in those layers, and nothing else, to be passed over: what is minimized is the share of
attention that ordinary tokens give to a memory of thousands of rows. A minute on two cores; replaces the beacon's
weights in place.
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from activation_beacon.checkpoint import load_beacon, read_info, save_beacon
from activation_beacon.onepass import read_in_one_pass
from activation_beacon.plugin import install, remove
from activation_beacon.rotary import model_rotary
from recipes.pocket.compose import Composer
from recipes.pocket.pretrain import POSITIONS, stage_at
from recipes.pocket.train_beacon import CONFIG, plan


class Inputs:
    """Keeps what goes into a projection, (batch, rows, width)."""

    def __init__(self, projection: Any) -> None:
        self.handle = projection.register_forward_pre_hook(self._keep)
        self.seen: list[torch.Tensor] = []

    def _keep(self, projection: Any, inputs: Any) -> None:
        self.seen.append(inputs[0].detach())


def heads(x: torch.Tensor, dim: int) -> torch.Tensor:
    """(..., rows, width) -> (..., heads, rows, dim)."""
    return x.unflatten(-1, (-1, dim)).transpose(-2, -3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--beacon", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng = random.Random(options.seed)
    model = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32, device_map={"": "cpu"})
    model = model.dequantize(dtype=torch.float32).float().requires_grad_(False).train(False)
    beacon = load_beacon(options.beacon, model, dtype=torch.float32, device=torch.device("cpu"))
    rotary = model_rotary(model.model, model.config)
    model.model.rotary_emb = rotary
    composer = Composer(options.data, Tokenizer.from_file(str(options.base / "tokenizer.json")), options.seed)
    texts = stage_at(0.5).plans[512]
    dim, scale = model.config.head_dim, model.config.head_dim**-0.5

    for index in range(options.layers):
        # Texts as they are read now: what beacons bring into this layer, and what ordinary tokens ask and find there.
        attention = model.model.layers[index].self_attn
        beacon_inputs, raw_inputs = [], []
        for _ in range(6):
            ids = torch.from_numpy(composer.batch(512, 4, texts)[0].astype(np.int64))
            plain = Inputs(attention.k_proj)
            with torch.no_grad():
                model.model(ids, use_cache=False)
            plain.handle.remove()
            raw_inputs.append(plain.seen[0])
            rows = install(model, beacon)
            condensed = Inputs(model.model.layers[index].self_attn.k_proj)
            passes = plan(512, 0, rng, (1, 1, 2, 2, 2))
            with torch.no_grad():
                read_in_one_pass(model, beacon, rows, rotary, passes, ids)
            condensed.handle.remove()
            remove(model)
            entries = [entry for each in passes for entry in each.entries]
            wanted = [row for row, entry in enumerate(entries) if entry.is_beacon]
            beacon_inputs.append(condensed.seen[0][:, wanted].flatten(0, 1))
        pool = torch.cat(beacon_inputs)
        linear = beacon.layers[index]["k"].requires_grad_(True)  # type: ignore[index]
        optimizer = torch.optim.Adam(linear.parameters(), lr=2e-3)
        for step in range(options.steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / options.steps)))
            count = rng.randint(1000, 6000)
            raw = rng.choice(raw_inputs)[rng.randrange(4)]
            positions = torch.arange(count, count + raw.shape[0])
            assert int(positions[-1]) < POSITIONS
            queries = rotary.rotate(heads(attention.q_proj(raw), dim), positions)
            keys = rotary.rotate(heads(attention.k_proj(raw), dim), positions)
            own = (queries @ keys.transpose(-1, -2)) * scale
            own = own.masked_fill(~torch.ones_like(own[0], dtype=torch.bool).tril(), -math.inf).logsumexp(-1)
            memory = linear(pool[torch.randint(len(pool), (count,))])
            found = queries @ rotary.rotate(heads(memory, dim), torch.arange(count)).transpose(-1, -2)
            excess = (found * scale).logsumexp(-1) - own
            # softplus: minus the logarithm of the share that stays with the ordinary tokens.
            loss = torch.nn.functional.softplus(excess).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 100 == 0 or step == options.steps - 1:
                share = (
                    excess.detach().sigmoid().mean((1, 2)) if excess.ndim == 3 else excess.detach().sigmoid().mean(1)
                )
                print(f"layer {index} step {step}: {loss.item():.4f}; share of each head {share.tolist()}", flush=True)
        linear.requires_grad_(False)
    info = read_info(options.beacon)
    assert info.config == CONFIG
    save_beacon(options.beacon, beacon.bfloat16(), base_name=info.base_name, base_fingerprint=info.base_fingerprint)


if __name__ == "__main__":
    main()

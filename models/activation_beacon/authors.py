"""Reading the authors' checkpoints: their configuration keys and parameter names (`FORMAT.md` 1 and 8)."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from activation_beacon.config import BeaconConfig
from activation_beacon.errors import CheckpointError, ConfigError

# Ignored: how the beacon's embedding was initialised, how many windows ran in a pass, and v1's retrieval of intervals.
IGNORED = {"beacon_embed_init", "beacon_parallel_window", "retrieval_method", "retrieval_topk"}
RENAMED = {
    "beacon_window": "window",
    "beacon_stride": "stride",
    "beacon_ratio": "ratios",
    "beacon_ratio_mix": "ratio_mix",
    "beacon_attn": "attn",
    "beacon_attend_prev": "attend_prev",
    "beacon_pos": "pos",
    "beacon_sink_size": "sink_size",
    "beacon_param": "param",
}
PARAMETER = re.compile(r"model\.layers\.(\d+)\.self_attn\.beacon_([qkvo])_proj\.(weight|bias)")
EMBEDDING = "model.beacon_embed_tokens.weight"


def authors_config(settings: Mapping[str, Any]) -> BeaconConfig:
    """The beacon settings in an authors' `config.json` (other keys are passed over).

    A missing `beacon_pos` means append: checkpoints of the version between have none.

    Raises:
        ConfigError: for unknown `beacon_*` keys, v1 keys whose meaning has no counterpart, and unusable values.
    """
    beacon = {k: v for k, v in settings.items() if k.startswith("beacon_") and k not in IGNORED}
    unknown = sorted(set(beacon) - set(RENAMED))
    if unknown:
        raise ConfigError(f"unknown beacon keys in config.json: {', '.join(unknown)}")
    renamed = {RENAMED[key]: value for key, value in beacon.items()}
    renamed.setdefault("pos", "append")
    return BeaconConfig.from_dict(renamed)


def split_parameters(state: Mapping[str, Tensor], config: BeaconConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Base parameters, and beacon parameters under the names of `plugin.Beacon`.

    Raises:
        CheckpointError: if the beacon's embedding is missing, or a parameter is of a kind that never was released.
    """
    base: dict[str, Tensor] = {}
    beacon: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = PARAMETER.fullmatch(name)
        if match:
            if match[2] in config.param:
                beacon[f"layers.{match[1]}.{match[2]}.{match[3]}"] = tensor
        elif name == EMBEDDING:
            beacon["embedding"] = tensor[0]
        elif "beacon" in name:
            raise CheckpointError(f"unknown beacon parameter {name}")
        else:
            base[name] = tensor
    if "embedding" not in beacon:
        raise CheckpointError(f"the checkpoint holds no {EMBEDDING}: it is not an Activation Beacon model")
    return base, beacon

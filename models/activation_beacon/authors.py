"""Reading the authors' checkpoints: their configuration keys and parameter names, of all generations.

The first release ("v1") is told by its own keys, the version between by having no `beacon_pos`, and UltraGist, which is
that version under another name, by its prefix (`docs/FORMAT.md` 1, 8). MemoRAG's memory models are of the last version.
"""

import re
from collections.abc import Mapping
from typing import Any

from activation_beacon.config import BeaconConfig
from activation_beacon.errors import CheckpointError, ConfigError

# Of UltraGist's keys and parameters.
ULTRAGIST = "ultragist_"
# Without a meaning here: how the embedding was initialised, how many windows ran in a pass.
IGNORED = {"beacon_embed_init", "beacon_parallel_window"}
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
V1_ONLY = {"beacon_attend_previous", "beacon_stride_mix"}
PARAMETER = re.compile(r"model\.layers\.(0|[1-9]\d*)\.self_attn\.(?:beacon|ultragist)_([qkvo])_proj\.(weight|bias)")
EMBEDDINGS = ("model.beacon_embed_tokens.weight", "model.ultragist_embed_tokens.weight")


def authors_config(settings: Mapping[str, Any]) -> BeaconConfig:
    """The beacon settings in an authors' `config.json` (other keys are passed over).

    Raises:
        ConfigError: for unknown or missing `beacon_*` or `ultragist_*` keys, several strides, retrieval, several ratios
            at once, and unusable values.
    """
    if any(key.startswith(ULTRAGIST) for key in settings):
        settings = _ultragist_settings(settings)
    beacon = {k: v for k, v in settings.items() if k.startswith("beacon_") and k not in IGNORED}
    if not beacon:
        raise ConfigError("config.json has no beacon_* keys: it is not an Activation Beacon model")
    is_v1 = bool(V1_ONLY & set(beacon)) or isinstance(beacon.get("beacon_stride"), list)
    unknown = sorted(set(beacon) - set(RENAMED) - (V1_ONLY if is_v1 else set()))
    if unknown:
        raise ConfigError(f"unknown beacon keys in config.json: {', '.join(unknown)}")
    missing = sorted({"beacon_window", "beacon_stride", "beacon_ratio", "beacon_param"} - set(beacon))
    if missing:
        raise ConfigError(f"config.json lacks {', '.join(missing)}")
    if settings.get("retrieval_method"):
        raise ConfigError(f"retrieval_method {settings['retrieval_method']!r} is not supported: all memory is attended")
    renamed = {RENAMED[key]: value for key, value in beacon.items() if key in RENAMED}
    renamed.setdefault("pos", "append")
    if is_v1:
        renamed |= _v1_settings(beacon)
    elif renamed.get("attn", "full-coverage") == "full-coverage":
        # Has no effect in v2; here false would mean v1's full coverage.
        renamed["attend_prev"] = True
    return BeaconConfig.from_dict(renamed)


def _ultragist_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """UltraGist's settings by the names that the version between has for them.

    All must be there: the defaults for those that are not differ between its two models.
    """
    if any(key.startswith("beacon_") for key in settings):
        raise ConfigError("config.json has beacon_* and ultragist_* keys: it is of no release that is known")
    keys = {key.replace("beacon_", ULTRAGIST, 1): key for key in (*RENAMED, "beacon_embed_init") if key != "beacon_pos"}
    if unknown := sorted(key for key in settings if key.startswith(ULTRAGIST) and key not in keys):
        raise ConfigError(f"unknown beacon keys in config.json: {', '.join(unknown)}")
    if missing := sorted(keys.keys() - settings.keys() - {"ultragist_embed_init"}):
        raise ConfigError(f"config.json lacks {', '.join(missing)}")
    return {keys.get(key, key): value for key, value in settings.items()}


def _v1_settings(beacon: Mapping[str, Any]) -> dict[str, Any]:
    """What v1 writes otherwise, and its fixed settings."""
    later = sorted({"beacon_pos", "beacon_attend_prev", "beacon_sink_size"} & set(beacon))
    if later:
        raise ConfigError(f"config.json mixes keys of the first release with later ones: {', '.join(later)}")
    stride = beacon["beacon_stride"]
    if isinstance(stride, list):
        if len(stride) != 1:
            raise ConfigError(f"beacon_stride is {stride!r}; only a list of one stride is supported")
        stride = stride[0]
    mix = beacon.get("beacon_ratio_mix", "step-random")
    return {
        "stride": stride,
        "attn": beacon.get("beacon_attn", "step-expansion"),
        "attend_prev": False,
        "attend_memory": beacon.get("beacon_attend_previous", True),
        "ratio_mix": "sequence-last" if mix == "sequence" else mix,
    }


def base_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stock transformers configuration in an authors' `config.json`.

    Left out are the beacon's keys, the code that the repository brings, and a sliding window, which the reference
    ignores (`docs/FORMAT.md` 4.1).

    Raises:
        ConfigError: if transformers has no causal language model of that type.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: PLC0415  takes seconds, which most commands can do without

    kind = settings.get("model_type")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ConfigError(f"config.json has model_type {kind!r}, of which transformers has no causal language model")
    sliding_keys = ("sliding_window", "use_sliding_window", "max_window_layers")
    dropped = ("beacon_", ULTRAGIST, "retrieval_", "auto_map", *sliding_keys)
    stock = {key: value for key, value in settings.items() if not key.startswith(dropped)}
    if "layer_types" in stock and "sliding_attention" in stock["layer_types"]:
        stock["layer_types"] = ["full_attention"] * len(stock["layer_types"])
    sliding: dict[str, Any] = {"sliding_window": None} if "sliding_window" in settings else {}
    if "use_sliding_window" in settings:
        sliding = {"use_sliding_window": False}
    architecture = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    return stock | sliding | {"architectures": [architecture]}


def beacon_name(name: str) -> str | None:
    """The name in `plugin.Beacon` of a tensor of a merged checkpoint; None for one of the base model.

    The embedding, (1, hidden) in the authors' files, is (hidden) there.

    Raises:
        CheckpointError: for a beacon parameter of a kind that was never released.
    """
    match = PARAMETER.fullmatch(name)
    if match:
        return f"layers.{match[1]}.{match[2]}.{match[3]}"
    if name in EMBEDDINGS:
        return "embedding"
    if "beacon" in name or "ultragist" in name:
        raise CheckpointError(f"unknown beacon parameter {name}")
    return None

"""What a configuration says of a model's tensors: their names and shapes, known before any weight is read."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from beacon_cli.checkpoints.convert.tensor_files import Stored
from beacon_cli.errors import ConfigError, ModelError
from beacon_cli.quantities import counted


def meta_model(stock: dict[str, Any]) -> nn.Module:
    """The model that a configuration describes, without memory for its weights.

    Raises:
        ConfigError: if transformers makes none of it.
    """
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM  # noqa: PLC0415  takes seconds, which most commands can do without
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415  as above

    # What transformers remarks on a configuration is nothing that a user could act on.
    transformers_logging.set_verbosity_error()
    try:
        config: Any = CONFIG_MAPPING[stock["model_type"]].from_dict(copy.deepcopy(stock))
        with torch.device("meta"):
            model: nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # configuration classes and model code raise anything for values that cannot be used
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(f"transformers makes no model of its config.json: {reason}") from error
    return model


def tied_head(model: Any) -> str:
    """The name of the output embeddings' weight where that is the input embeddings', else empty."""
    if not model.config.tie_word_embeddings:
        return ""
    head = model.get_output_embeddings()
    return next(f"{name}.weight" for name, module in model.named_modules() if module is head)


def compare(place: Path, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Stored]) -> None:
    """Check that tensors are those that a model has.

    Args:
        place: the folder or file that they are in.
        wanted: their shapes, by name.

    Raises:
        ModelError: naming one that is missing, too many, or of another shape.
    """
    if missing := sorted(wanted.keys() - found.keys()):
        raise ModelError(
            f"{place} lacks {len(missing)} of its tensors ({missing[0]}): download it again, or use another checkpoint"
        )
    if extra := sorted(found.keys() - wanted.keys()):
        name = found[extra[0]].name
        raise ModelError(
            f"{place} holds {counted(len(extra), 'tensor')} that config.json has no place for ({name!r:.60}): "
            "use another checkpoint"
        )
    for name, tensor in found.items():
        if tensor.shape != wanted[name]:
            raise ModelError(
                f"{place}: {tensor.name} is {tensor.shape}, but config.json asks for {wanted[name]}: "
                "download it again, or use another checkpoint"
            )

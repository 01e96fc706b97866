"""Activation Beacon as a plug-in for stock transformers decoders.

Paper: *Long Context Compression with Activation Beacon* (arXiv 2401.03462). Its rules: `docs/FORMAT.md`. In short::

    import torch
    from transformers import AutoModelForCausalLM

    from activation_beacon import attach, load_beacon, read_info

    model = AutoModelForCausalLM.from_pretrained("model", dtype=torch.float32).eval()
    beacon = load_beacon("model/beacon", model)
    with attach(model, beacon, rope_scaling=read_info("model/beacon").rope_scaling) as attached:
        reader = attached.reader(8)  # eight tokens become one
        reader.read(document_ids)
        document = reader.mark()
        for question_ids in questions:
            likeliest = int(reader.read(question_ids).argmax())
            reader.rewind(document)  # a question does not use the memory up

After the block the model is what it was. Without a beacon, it condenses by selection: `attach(model, None)`, then
`attached.selecting_reader(8, Selection(…))`. What is not named here is private.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from activation_beacon.attached import Attached, attach
    from activation_beacon.checkpoint import load_beacon, read_info, save_beacon
    from activation_beacon.config import BeaconConfig
    from activation_beacon.errors import BeaconError
    from activation_beacon.memory import Activations
    from activation_beacon.planner import Planner
    from activation_beacon.plugin import Beacon
    from activation_beacon.reader import Reader
    from activation_beacon.selection import SelectingReader, Selection
    from activation_beacon.sequence_reader import SequenceReader
    from activation_beacon.training import text_loss

_HOMES = {
    "attach": "attached", "Attached": "attached", "Reader": "reader", "Planner": "planner", "Activations": "memory",
    "Beacon": "plugin", "BeaconConfig": "config", "load_beacon": "checkpoint", "read_info": "checkpoint",
    "save_beacon": "checkpoint", "text_loss": "training", "BeaconError": "errors", "Selection": "selection",
    "SelectingReader": "selection", "SequenceReader": "sequence_reader",
}  # fmt: skip
__all__ = [
    "Activations",
    "Attached",
    "Beacon",
    "BeaconConfig",
    "BeaconError",
    "Planner",
    "Reader",
    "SelectingReader",
    "Selection",
    "SequenceReader",
    "attach",
    "load_beacon",
    "read_info",
    "save_beacon",
    "text_loss",
]


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: `activation_beacon.errors` must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

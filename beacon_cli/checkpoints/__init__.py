"""From a name to a loaded model: found on this disk or fetched, converted once, its weights in memory.

- `catalogue`: the models that are known by name; `inventory`: those, and what of them is on this disk.
- `model_source`: which model and beacon a name means, checked to belong together; `obtain`: fetched and converted.
- `default_model`: the default, of a base that is found on this disk and the adapters that come with this tool.
- `engine`: loads the weights; `adapter`: those of the beacon.
- `tokenizer/`: text to ids and back, and the chat template.
- `convert/`: merged checkpoints to ours; `gguf/`: GGUF files to ours. `hub/`: downloads.
- `local/`: what is on this disk: a model's files and their fingerprint, converted models and who uses them.
"""

"""Activation Beacon as a plug-in for stock transformers decoders.

Paper: *Long Context Compression with Activation Beacon* (arXiv 2401.03462). In short::

    beacon = load_beacon(folder, model, dtype=torch.float32, device=model.device)
    rotary = model_rotary(model.model, model.config)
    with installed(model, beacon) as rows:
        reader = Reader(model, beacon, rows, rotary, Planner(beacon.config, Fixed(8)))
        for step in reader.feed(token_ids):
            ...
        logits = reader.logits()
"""

"""Activation Beacon as a plug-in for stock transformers decoders.

Paper: *Long Context Compression with Activation Beacon* (arXiv 2401.03462). In short::

    beacon = load_beacon(folder, model, dtype=torch.float32, device=model.device)
    rotary = model_rotary(model.model, model.config)
    with installed(model, beacon) as rows:
        reader = Reader(model, beacon, rows, rotary, Planner(beacon.config, Fixed(8)))
        for step in reader.feed(token_ids):
            ...
        logits = reader.logits()

What will be condensed of a text, and to how much, can be known without a model::

    plan_intervals(9000, window=2048, ratio=8)  # [(0, 2048, 256), (2048, 2048, 256), …]: first token, tokens, rows
"""

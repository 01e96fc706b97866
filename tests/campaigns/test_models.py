"""Model folders that somebody changed: settings, tokenizers, headers of weights, chat templates that never end.

`BEACON_CAMPAIGN` says how many, `BEACON_CAMPAIGN_FIRST` from which on.
"""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.campaigns.mutations import of_bytes, of_json
from tests.cli.runner import run
from tests.stories import WHO_KEEPS

COUNT, FIRST = int(os.environ.get("BEACON_CAMPAIGN", "12")), int(os.environ.get("BEACON_CAMPAIGN_FIRST", "0"))
LONGEST = 30.0
TEMPLATES = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% set x = namespace(t='x') %}{% for i in range(40) %}{% set x.t = x.t + x.t %}{% endfor %}{{ x.t }}",
    "{{ messages[0].__class__.__mro__ }}",
    "{{ 'x' * 9999999999 }}",
    "{{ messages[0]['content'] * 3 }}",
    "{% include 'x' %}",
    "{{ 1 / 0 }}",
    "{% for",
    "{{ raise_exception('no') }}",
    "",
]
FILES = [
    *("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"),
    *("beacon/beacon_config.json", "beacon/beacon.safetensors"),
]


def change(folder: Path, number: int) -> str:
    """Change something in a model's folder; returns what."""
    draw = random.Random(number)
    if number % 5 == 0:
        path = folder / "tokenizer_config.json"
        template = TEMPLATES[number // 5 % len(TEMPLATES)]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
        return template
    path = folder / draw.choice([name for name in FILES if (folder / name).exists()])
    data = path.read_bytes()
    if path.suffix == ".json":
        changed = json.dumps(of_json(json.loads(data), draw)).encode() if number % 3 else of_bytes(data, draw)
    else:
        size = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + size]
        header = json.dumps(of_json(json.loads(header), draw)).encode() if number % 2 else of_bytes(header, draw)
        length = len(header) if number % 3 else draw.choice((0, 2**63, size, len(header) + 9))
        changed = length.to_bytes(8, "little") + header + data[8 + size :]
    path.write_bytes(changed)
    return f"{path.name}, {number}"


def test_changed_models(book: Path, tmp_path: Path, scripted_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slowest, used, failed = 0.0, 0, list[str]()
    for number in range(FIRST, FIRST + COUNT):
        monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / f"cache {number}"))
        folder = tmp_path / f"model {number}"
        shutil.copytree(scripted_model, folder)
        what = change(folder, number)
        began = time.process_time()  # on a busy machine, waiting for it is no fault of the model
        result = run("ask", str(book), WHO_KEEPS, "--model", str(folder), "--max-new-tokens", "2", "--no-cache")
        took = time.process_time() - began
        lines = result.err.strip().splitlines()
        if took > LONGEST or "unexpectedly" in result.err or "Traceback" in result.err or (result.code and lines[1:]):
            failed.append(f"{what}, {took:.1f} s: {result.err}")
        slowest, used = max(slowest, took), used + (result.code == 0)
        shutil.rmtree(folder)
    print(f"{COUNT} models, {used} of them used; the slowest took {slowest:.1f} s")
    assert not failed, "\n".join(failed)

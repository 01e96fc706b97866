"""What Ollama and LM Studio have on this disk, in trees as they keep them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.checkpoints.local import elsewhere
from beacon_cli.checkpoints.local.model_folder import local_model
from beacon_cli.errors import ModelError
from tests.checkpoints.gguf.gguf_files import write
from tests.cli.runner import assert_refused, run

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
TEMPLATE = b"{{ .System }}{{ .Prompt }}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr(elsewhere, "OLLAMA_SERVICE", tmp_path / "service" / "models")
    return tmp_path


class Ollama:
    """A folder of Ollama's: blobs by their SHA-256, and manifests that name them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        path = self.root / "blobs" / f"sha256-{digest}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def manifest(self, place: str, **layers: bytes) -> Path:
        """Write a manifest at `REGISTRY/OWNER/NAME/TAG` with the layers (by kind) that it names; its model's blob."""
        entries = [
            {"mediaType": f"application/vnd.ollama.image.{kind}", **self.blob(content)}
            for kind, content in layers.items()
        ]
        config = {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            **self.blob(b'{"model_family":"llama"}'),
        }
        path = self.root / "manifests" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": entries}
        path.write_text(json.dumps(content))
        digest = next((each["digest"] for each in entries if each["mediaType"].endswith("model")), "none")
        return self.root / "blobs" / digest.replace(":", "-")


def listed() -> dict[str, str]:
    entries = run("models", "list", "--json").json
    return {entry["id"]: entry["state"] for entry in entries if entry["state"] == "of another program"}


def test_ollamas_names(home: Path, tmp_path: Path) -> None:
    ollama = Ollama(home / ".ollama" / "models")
    content = write(tmp_path / "tiny.gguf").read_bytes()
    tuned, other = content + b"\0", content + b"\0\0"
    library = ollama.manifest(
        "registry.ollama.ai/library/llama3.2/1b",
        model=content,
        template=TEMPLATE,
        license=b"MIT",
        params=b"{}",
    )
    files = {
        "ollama:llama3.2:1b": library,
        "ollama:llama3.2:latest": ollama.manifest("registry.ollama.ai/library/llama3.2/latest", model=content),
        "ollama:someone/tuned:q4_K_M": ollama.manifest("registry.ollama.ai/someone/tuned/q4_K_M", model=tuned),
        "ollama:hf.co/someone/tuned:Q4_K_M": ollama.manifest("hf.co/someone/tuned/Q4_K_M", model=other),
        "ollama:hub.example:5000/library/tiny:latest": ollama.manifest(
            "hub.example:5000/library/tiny/latest", model=content
        ),
        # Seen by its language part alone.
        "ollama:llava:7b": ollama.manifest("registry.ollama.ai/library/llava/7b", model=content, projector=b"GGUF"),
    }
    assert listed().keys() == files.keys()
    for name, file in files.items():
        assert local_model(name) == file
    assert local_model("ollama:llama3.2") == library
    assert local_model("ollama:HF.co/Someone/Tuned:q4_k_m") == files["ollama:hf.co/someone/tuned:Q4_K_M"]
    assert local_model("ollama:hub.example:5000/library/tiny") == library
    for name in ("llama3.3", "llama3.2:3b", "someone/llama3.2", "tuned:q4_K_M", "hub.example:5000/tiny"):
        with pytest.raises(ModelError, match=f"Ollama has no model {name} here"):
            local_model(f"ollama:{name}")


def test_what_ollama_has_in_part(home: Path) -> None:
    ollama = Ollama(home / ".ollama" / "models")
    ollama.manifest("registry.ollama.ai/library/gone/latest", model=b"GGUF gone").unlink()
    ollama.manifest("registry.ollama.ai/library/tuned/latest", model=b"GGUF", adapter=b"GGUF")
    ollama.manifest("registry.ollama.ai/library/embedded/latest", template=b"")
    tags = home / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library" / "damaged"
    tags.mkdir()
    layer = {"mediaType": "application/vnd.ollama.image.model"}
    for number, damaged in enumerate(("", "[]", "{}", "\xff", '{"layers": 1}', json.dumps({"layers": [layer]}))):
        (tags / str(number)).write_text(damaged, encoding="latin-1")
    (tags / "folder").mkdir()
    (tags.parent / ".DS_Store").write_bytes(b"\0")
    assert listed() == {}
    assert_refused(run("models", "convert", "ollama:gone"), "ollama:gone cannot be used", "missing; pull it again")
    assert_refused(run("models", "convert", "ollama:tuned"), "a model with an adapter (LoRA)")
    assert_refused(run("models", "convert", "ollama:embedded"), "Ollama has no model embedded here")
    assert_refused(run("models", "convert", "ollama:damaged:0"), "Ollama has no model damaged:0 here")


def test_ollama_as_a_service_and_where_it_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Ollama(elsewhere.OLLAMA_SERVICE).manifest("registry.ollama.ai/library/served/latest", model=b"GGUF")
    Ollama(home / ".ollama" / "models").manifest("registry.ollama.ai/library/own/latest", model=b"GGUF")
    Ollama(home / "disk").manifest("registry.ollama.ai/library/told/latest", model=b"GGUF")
    assert listed().keys() == {"ollama:served:latest", "ollama:own:latest"}
    monkeypatch.setenv("OLLAMA_MODELS", "~/disk")
    assert listed().keys() == {"ollama:told:latest"}


def test_ollamas_models_are_converted_and_left_alone(home: Path) -> None:
    content = write(home / "tiny.gguf").read_bytes()
    file = Ollama(home / ".ollama" / "models").manifest("registry.ollama.ai/library/tiny/latest", model=content)
    assert run("models", "convert", "ollama:tiny").code == 0
    assert run("models", "show", "ollama:tiny:latest", "--json").json["state"] == "converted"
    assert run("models", "rm", "ollama:tiny:latest").code == 0
    assert_refused(run("models", "rm", "ollama:tiny:latest", "--download"), "there is nothing to remove")
    assert file.read_bytes() == content


def test_lm_studios_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(root: Path, *names: str) -> list[str]:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"GGUF")
        return [str(root / name) for name in names]

    models = home / ".lmstudio" / "models"
    expected = put(
        models,
        "lmstudio-community/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf",
        "bartowski/Big-GGUF/Big-Q8_0-00001-of-00002.gguf",
    )
    expected += put(home / ".cache" / "lm-studio" / "models", "someone/Old-GGUF/old.gguf")
    put(
        models,
        "bartowski/Big-GGUF/Big-Q8_0-00002-of-00002.gguf",
        "someone/Seeing-GGUF/mmproj-model-f16.gguf",
        "mlx-community/Qwen3-MLX/model.safetensors",
        "loose.gguf",
    )
    assert sorted(listed()) == sorted(expected)
    elsewhere_ = put(home / "disk" / "models", "someone/Moved-GGUF/moved.gguf")
    (home / ".lmstudio-home-pointer").write_text(f"{home / 'disk'}\n")
    assert sorted(listed()) == elsewhere_
    named = put(home / "named", "someone/Named-GGUF/named.gguf")
    (home / "disk" / "settings.json").write_text(json.dumps({"downloadsFolder": str(home / "named")}))
    assert sorted(listed()) == named
    (home / "disk" / "settings.json").write_text("{")
    assert sorted(listed()) == elsewhere_

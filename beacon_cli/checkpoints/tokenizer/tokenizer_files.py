"""What a checkpoint folder says about its tokenizer: `tokenizer.json`, the chat template, the special tokens' roles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon_cli.checkpoints.local.model_folder import CONFIG, read_settings
from beacon_cli.errors import ModelError


@dataclass(frozen=True)
class TokenizerFiles:
    """As read from a folder.

    Attributes:
        json_text: the content of `tokenizer.json`, unparsed.
        chat_template: `chat_template.jinja` or else that of `tokenizer_config.json`; None if there is neither.
        special: contents of special tokens by role (`bos_token`, `eos_token`, …), which chat templates may name.
        eos_ids: the ids that `generation_config.json` and `config.json` give for the end of an answer.
    """

    json_text: bytes
    chat_template: str | None
    special: dict[str, str]
    eos_ids: frozenset[int]


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Only `tokenizer.json` must be there; it is checked by whoever parses it.

    Raises:
        ModelError: if it is missing, or any of the files cannot be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer.json: give the folder of a model in Hugging Face format")
    tokenizer = _settings(folder, "tokenizer_config.json")
    return TokenizerFiles(
        json_text=_read(path),
        chat_template=_chat_template(folder / "chat_template.jinja", tokenizer.get("chat_template")),
        special=_special({**_settings(folder, "special_tokens_map.json"), **tokenizer}),
        eos_ids=frozenset(_endings(folder, "generation_config.json") + _endings(folder, CONFIG)),
    )


def _settings(folder: Path, name: str) -> dict[str, Any]:
    """Empty if there is no such file."""
    return read_settings(folder, name) if (folder / name).exists() else {}


def _endings(folder: Path, name: str) -> list[int]:
    """The ids that a configuration gives for the end of an answer: one, several or none.

    Raises:
        ModelError: if what it calls a token's id is none; transformers would not take that either.
    """
    found: dict[str, list[int]] = {}
    for role, given in _settings(folder, name).items():
        if role.endswith("_token_id"):
            found[role] = given if isinstance(given, list) else [] if given is None else [given]
            if not all(type(each) is int for each in found[role]):
                raise _damaged(folder / name, f"{role} is {given!r}, which is no id of a token")
    return found.get("eos_token_id", [])


def _chat_template(path: Path, configured: object) -> str | None:
    """`configured` is one template or a list of named ones."""
    if path.exists():
        try:
            return _read(path).decode()
        except UnicodeDecodeError as error:
            raise _damaged(path, "it is not UTF-8 text") from error
    for entry in configured if isinstance(configured, list) else []:
        if isinstance(entry, dict) and entry.get("name") == "default":
            configured = entry.get("template")
    return configured if isinstance(configured, str) else None


def _special(config: dict[str, Any]) -> dict[str, str]:
    """A role's token is written as its content, or as an object that holds it."""
    roles = {role: entry for role, entry in config.items() if role.endswith("_token")}
    contents = {role: entry.get("content") if isinstance(entry, dict) else entry for role, entry in roles.items()}
    return {role: content for role, content in contents.items() if isinstance(content, str)}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error.strerror or "unreadable") from error


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} cannot be used ({reason}): restore or download the model again")

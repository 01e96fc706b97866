"""A request for a chat completion, in the form of OpenAI's API: what is meant by it, or what is wrong with it."""

from dataclasses import dataclass
from typing import Any

from beacon_cli.answering.prompts import TEMPLATE
from beacon_cli.answering.request import Turn

MODEL = "beacon"
# What would change the answer and cannot be had; to leave it out in silence would be to answer something else.
_REFUSED = ("tools", "functions", "logprobs", "stop", "audio")


class RequestError(Exception):
    """What is wrong with a request.

    Attributes:
        status: of the HTTP answer.
        param: the field that is wrong.
        code: for programs.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


@dataclass(frozen=True)
class Completion:
    """What is asked for.

    Attributes:
        model: as the request names it.
        documents: names; None leaves them to the server.
        question, history, template: see `Memory.ask`.
        max_new_tokens, temperature: None leaves them to the server.
        stream: piece by piece; `usage`: with a last chunk that counts tokens.
    """

    model: str
    documents: tuple[str, ...] | None
    question: str
    history: tuple[Turn, ...]
    template: str | None
    max_new_tokens: int | None
    temperature: float | None
    stream: bool
    usage: bool


def parse(body: Any) -> Completion:
    """Read the body of a request.

    Raises:
        RequestError: if it cannot be answered as it is meant.
    """
    if not isinstance(body, dict):
        raise RequestError("the body is no JSON object")
    for name in _REFUSED:
        if body.get(name):
            raise RequestError(f"{name} cannot be used here; leave it out", param=name, code="unsupported_parameter")
    if body.get("n") not in (None, 1):
        raise RequestError("n is more than 1; ask once for each answer", param="n", code="unsupported_parameter")
    if (body.get("response_format") or {"type": "text"}) != {"type": "text"}:
        raise RequestError("response_format can only be text", param="response_format", code="unsupported_parameter")
    model = _typed(body, "model", str, MODEL)
    options = _typed(body, "stream_options", dict, {})
    question, history, system = _conversation(body.get("messages"))
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    if most is not None and (type(most) is not int or most < 1):
        raise RequestError("max_tokens is no whole number from 1 on", param="max_tokens")
    temperature = body.get("temperature")
    if temperature is not None and (type(temperature) not in (int, float) or not 0 <= temperature <= 2):
        raise RequestError("temperature is no number from 0 to 2", param="temperature")
    return Completion(
        model=model,
        documents=_documents(body.get("documents"), model),
        question=question,
        history=history,
        template=f"{system}\n\n{TEMPLATE}" if system else None,
        max_new_tokens=most,
        temperature=None if temperature is None else float(temperature),
        stream=_typed(body, "stream", bool, False),
        usage=_typed(options, "include_usage", bool, False),
    )


def _typed(body: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise RequestError(f"{name} is not of the right type ({kind.__name__})", param=name)
    return value


def _documents(named: Any, model: str) -> tuple[str, ...] | None:
    """By the field of that name, else by the model's name."""
    if named is not None:
        if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
            raise RequestError("documents is no list of names", param="documents")
        return tuple(named)
    prefix, _, name = model.partition(":")
    if prefix != MODEL:
        raise RequestError(
            f"there is no model {model!r} here; GET /v1/models lists them", status=404, param="model",
            code="model_not_found",
        )  # fmt: skip
    return (name,) if name else None


def _conversation(messages: Any) -> tuple[str, tuple[Turn, ...], str]:
    """The question, the questions and answers before it, and what stands above all."""
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages is no list of messages", param="messages")
    said: list[tuple[str, str]] = []
    system: list[str] = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer"):
            system.append(_text(message))
        elif role in ("user", "assistant"):
            said.append((role, _text(message)))
        else:
            raise RequestError("a message has no role among system, user and assistant", param="messages")
    if not said or said[-1][0] != "user" or not said[-1][1].strip():
        raise RequestError("the last message is no question of the user's", param="messages")
    turns: list[Turn] = []
    asked: list[str] = []
    for role, text in said[:-1]:
        if role == "user":
            asked.append(text)
        elif asked:
            turns.append(Turn("\n".join(asked), text))
            asked = []
    # The braces are those of the template.
    above = "\n\n".join(system).replace("{question}", "question").replace("{passages}", "passages").strip()
    return "\n".join([*asked, said[-1][1]]), tuple(turns), above


def _text(message: dict[str, Any]) -> str:
    """A message's content: a text, or parts that are texts."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    raise RequestError("a message holds something that is no text", param="messages")

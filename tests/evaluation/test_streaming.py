"""A sink and a window, several tokens in a pass, against StreamingLLM as it is told: token after token."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation import streaming
from beacon_cli.evaluation.baselines import Full, Plain
from beacon_cli.evaluation.perplexity import Text, blocks
from beacon_cli.evaluation.samples import Sample
from beacon_cli.evaluation.sequences import Reading, continuation, read
from beacon_cli.evaluation.streaming import SINK, Stream, Streaming
from tests.activation_beacon.tiny import random_ids
from tests.evaluation.tiny_engine import FRAME, tiny_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine()


def hidden(reading: Reading, ids: Sequence[int]) -> torch.Tensor:
    return torch.cat(list(reading.feed(ids)))


def sample(ids: list[int]) -> Sample:
    return Sample("key", {}, ids, ["a page"], "who?", ("answer",))


def rotated(vectors: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(heads, rows, head_dim) at positions (rows), by the formula of rotary embeddings with base 10,000."""
    half = vectors.shape[-1] // 2
    angle = positions[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    first, second = vectors[..., :half], vectors[..., half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


@torch.inference_mode()
def one_by_one(engine: Engine, ids: Sequence[int], window: int) -> torch.Tensor:
    """Last hidden states (tokens, hidden). Keys are cached without positions, and given those of their place in it."""
    decoder: Any = engine.model.model
    caches: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = [([], []) for _ in decoder.layers]
    states = []
    for token in ids:
        state = decoder.embed_tokens(torch.tensor([token]))
        for layer, (keys, values) in zip(decoder.layers, caches, strict=True):
            attention, normed = layer.self_attn, layer.input_layernorm(state)
            query, key, value = (
                projection(normed).view(-1, attention.head_dim)
                for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            keys.append(key)
            values.append(value)
            if len(keys) > window:
                del keys[SINK], values[SINK]
            places = torch.arange(len(keys))
            groups = len(query) // len(key)
            key = rotated(torch.stack(keys, 1), places).repeat_interleave(groups, 0)
            value = torch.stack(values, 1).repeat_interleave(groups, 0)
            scores = rotated(query[:, None], places[-1:]) @ key.mT / attention.head_dim**0.5
            state = state + attention.o_proj((scores.softmax(-1) @ value).reshape(1, -1))
            state = state + layer.mlp(layer.post_attention_layernorm(state))
        states.append(decoder.norm(state))
    return torch.cat(states)


@pytest.mark.parametrize("window", [8, 40, 150])
def test_streaming_is_what_the_paper_does_token_by_token(
    engine: Engine, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STEP", 64)
    ids = random_ids(330)
    stream = Stream(engine, window)
    # In pieces: a long one, one as long as a pass, and single tokens.
    cuts = [0, 200, 264, *range(265, len(ids) + 1)]
    found = torch.cat([hidden(stream, ids[first:end]) for first, end in itertools.pairwise(cuts)])
    torch.testing.assert_close(found, one_by_one(engine, ids, window), atol=2e-4, rtol=2e-4)
    assert stream.rows == window


def test_a_window_larger_than_the_text_is_full_attention(engine: Engine) -> None:
    ids = random_ids(200)
    assert torch.equal(hidden(Stream(engine, 256), ids), hidden(Plain(engine), ids))


def test_what_lies_out_of_reach_is_not_read_and_changes_nothing(engine: Engine) -> None:
    ids = random_ids(900)
    method = Streaming(engine, FRAME, 64)
    prompt = method.prompt(sample(ids), 8)
    assert len(prompt.document) == SINK + 2 * (64 - SINK)
    assert prompt.document[:SINK] == [*FRAME.opening, *ids][:SINK]
    cut, whole, shorter = method.start(0), method.start(0), method.start(0)
    end = read(whole, [*FRAME.opening, *ids])
    torch.testing.assert_close(read(cut, prompt.document), end, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(hidden(cut, prompt.request), hidden(whole, prompt.request), atol=2e-4, rtol=2e-4)
    # With any less it would.
    less = [*prompt.document[:SINK], *prompt.document[2 * SINK :]]
    assert not torch.allclose(read(shorter, less), end, atol=2e-4, rtol=2e-4)


def test_where_frequencies_grow_everything_is_read() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    growing = tiny_engine(max_position_embeddings=32, rope_parameters=rope)
    assert len(Streaming(growing, FRAME, 64).prompt(sample(random_ids(900)), 8).document) == 900 + len(FRAME.opening)


def test_a_short_document_is_read_whole_and_answered_like_full_attention(engine: Engine) -> None:
    stream, full = Streaming(engine, FRAME), Full(engine, FRAME)
    prompt = stream.prompt(sample(random_ids(100)), 8)
    assert prompt == full.prompt(sample(random_ids(100)), 8)
    answers = []
    for method in (stream, full):
        reading = method.start(0)
        read(reading, prompt.document)
        answers.append(continuation(engine, reading, read(reading, prompt.request), 8))
    assert answers[0] == answers[1]


@torch.inference_mode()
def test_losses_are_those_of_the_reference(engine: Engine) -> None:
    ids = random_ids(400)
    (block,) = blocks(Streaming(engine, FRAME, 32), Text("text", ids), [400])
    states = one_by_one(engine, [*FRAME.opening, *ids], 32)[len(FRAME.opening) : -1]
    logits = engine.model.get_output_embeddings()(states)  # type: ignore[operator]
    assert block.loss == pytest.approx(
        torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:])).item(), abs=1e-4
    )

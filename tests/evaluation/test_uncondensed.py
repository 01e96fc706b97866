"""The LLM alone: against transformers, and with a window against StreamingLLM as it is told: token after token."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from activation_beacon.architecture import decoder_of
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation import uncondensed
from beacon_cli.evaluation.baselines import Full, Streaming
from beacon_cli.evaluation.perplexity import Text, predict
from beacon_cli.evaluation.samples import EvalSample
from beacon_cli.evaluation.uncondensed import SINK, Uncondensed
from tests.activation_beacon.tiny import random_ids
from tests.evaluation.tiny_engine import FRAME, tiny_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine()


def hidden(reader: Uncondensed, ids: Sequence[int]) -> torch.Tensor:
    return torch.cat(list(reader.feed(ids)))


def sample(ids: list[int]) -> EvalSample:
    return EvalSample("key", {}, "a text", ids, "who?", ("answer",))


def test_full_attention_is_what_transformers_computes(engine: Engine) -> None:
    ids = random_ids(600)
    expected = decoder_of(engine.model)(input_ids=torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(hidden(Uncondensed(engine), ids), expected, atol=1e-4, rtol=1e-4)


def test_a_beacon_at_ratio_0_is_full_attention(engine: Engine) -> None:
    ids = random_ids(200)
    condensed = torch.cat([step.hidden for step in engine.reader(0).feed(ids)])
    torch.testing.assert_close(condensed, hidden(Uncondensed(engine), ids), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("window", [None, 40, 64, 400])
def test_a_rewound_reader_goes_on_as_if_nothing_had_been_read(engine: Engine, window: int | None) -> None:
    first, second, third = random_ids(64, 1), random_ids(50, 2), random_ids(50, 3)
    reader = Uncondensed(engine, window)
    reader.read(first)
    reader.mark()
    reader.read(second)
    reader.rewind()
    went_on, alone = hidden(reader, third), Uncondensed(engine, window)
    alone.read(first)
    assert torch.equal(went_on, hidden(alone, third))


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
    monkeypatch.setattr(uncondensed, "WINDOW_STEP", 64)
    ids = random_ids(330)
    stream = Uncondensed(engine, window)
    # In pieces: a long one, one as long as a pass, and single tokens.
    cuts = [0, 200, 264, *range(265, len(ids) + 1)]
    found = torch.cat([hidden(stream, ids[first:end]) for first, end in itertools.pairwise(cuts)])
    torch.testing.assert_close(found, one_by_one(engine, ids, window), atol=2e-4, rtol=2e-4)
    assert stream.rows == window


def test_a_window_larger_than_the_text_is_full_attention(engine: Engine) -> None:
    ids = random_ids(200)
    assert torch.equal(hidden(Uncondensed(engine, 256), ids), hidden(Uncondensed(engine), ids))


def test_what_lies_out_of_reach_is_not_read_and_changes_nothing(engine: Engine) -> None:
    ids = random_ids(900)
    document, request = Streaming(engine, 64).prompt(sample(ids), 8)
    assert len(document) == SINK + 2 * (64 - SINK)
    assert document[:SINK] == [*FRAME.opening, *ids][:SINK]
    cut, whole, shorter = Uncondensed(engine, 64), Uncondensed(engine, 64), Uncondensed(engine, 64)
    end = whole.read([*FRAME.opening, *ids])
    torch.testing.assert_close(cut.read(document), end, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(hidden(cut, request), hidden(whole, request), atol=2e-4, rtol=2e-4)
    # With any less it would.
    less = [*document[:SINK], *document[2 * SINK :]]
    assert not torch.allclose(shorter.read(less), end, atol=2e-4, rtol=2e-4)


def test_where_frequencies_grow_everything_is_read() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    growing = tiny_engine(max_position_embeddings=32, rope_parameters=rope)
    document, _ = Streaming(growing, 64).prompt(sample(random_ids(900)), 8)
    assert len(document) == 900 + len(FRAME.opening)


def test_a_short_document_is_read_whole_and_answered_like_full_attention(engine: Engine) -> None:
    short, stream, full = sample(random_ids(100)), Streaming(engine), Full(engine)
    assert stream.prompt(short, 8) == full.prompt(short, 8)
    assert stream.ask(short, 8) == full.ask(short, 8)


@torch.inference_mode()
def test_losses_are_those_of_the_reference(engine: Engine) -> None:
    ids = random_ids(400)
    (block,) = predict(Streaming(engine, 32), Text("text", ids), [400])
    states = one_by_one(engine, [*FRAME.opening, *ids], 32)[len(FRAME.opening) : -1]
    logits = engine.model.get_output_embeddings()(states)  # type: ignore[operator]  # a module of its own
    assert block.scores["loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:])).item(), abs=1e-4
    )

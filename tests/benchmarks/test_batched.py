"""Questions asked of a memory together are answered as each is alone."""

import itertools

import pytest
import torch

from activation_beacon import SelectingReader, Selection, attach
from benchmarks.batched import answers, padded
from tests.activation_beacon.tiny import random_ids, tiny_model

END, MOST = 1, 6


def alone(reader: SelectingReader, request: list[int], target: list[int]) -> tuple[list[int], float]:
    mark = reader.mark()
    logits = first = reader.read(request)
    likelihood = float(logits.log_softmax(-1)[target[0]])
    for token, following in itertools.pairwise(target):
        likelihood += float(reader.read([token]).log_softmax(-1)[following])
    reader.rewind(mark)
    reader.read(request)
    given, logits = list[int](), first
    while len(given) < MOST and (token := int(logits.argmax())) != END:
        given.append(token)
        logits = reader.read([token])
    reader.rewind(mark)
    return given, likelihood


@pytest.mark.parametrize("ratio", [1, 4])
def test_each_is_answered_as_if_it_were_alone(ratio: int) -> None:
    model = tiny_model()
    requests = [random_ids(5, 1), random_ids(9, 2), random_ids(3, 3), random_ids(7, 4)]
    with attach(model, None) as attached, torch.inference_mode():
        reader = attached.selecting_reader(ratio, Selection(32, 3, (5, 6)))
        reader.read(random_ids(80))
        reader.end_interval()
        reader.condense_at(0)
        expected = [alone(reader, request, [7]) for request in requests]
        # A target that is what is answered, one that begins so, and others.
        targets = [expected[0][0], [*expected[1][0][:2], 50, 51], [7, 8], [9]]
        expected = [alone(reader, *each) for each in zip(requests, targets, strict=True)]
        found = answers(model, padded(reader.memory, 480), requests, targets, frozenset([END]), MOST)
    assert len({tuple(ids) for ids, _ in expected}) > 1
    for (ids, likelihood), (own, likely) in zip(expected, found, strict=True):
        assert own[:MOST] == ids
        assert likely == pytest.approx(likelihood, abs=1e-3)

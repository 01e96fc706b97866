"""A model for tests: as small as one can be, with a beacon, and it says what the test tells it.

Its weights are random but for one thing: asked anything, it says `UNPROMPTED` and ends, in a process of its own too.
What it has read still moves its logits, so that these show whether two memories are the same. Within a test's own
process, `Script` puts other words into its mouth, and hears what it was asked.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from activation_beacon import SequenceReader
from activation_beacon.checkpoint import save_beacon
from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon
from beacon_cli.answering import decoding, judging, saying
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.answering.prompts import RULE
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.local.fingerprint import model_fingerprint
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer

UNPROMPTED = "Nobody knows."
WINDOW, RATIOS, CONTEXT = 128, (2, 4, 8, 16, 32), 8192
LAYERS, WIDTH, HEADS = 2, 64, 2
# Of one row of memory on disk: float16 keys and values in every layer.
ROW_BYTES = LAYERS * WIDTH * 2 * 2
END, USER, ASSISTANT = "<|end|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_BOOK = Path(__file__).parents[1] / "examples" / "the-time-machine.txt"


def make_model(folder: Path, *, context: int = CONTEXT, **settings: Any) -> Path:
    """Write the model into `folder`; `settings` are further ones of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=context,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        **settings,
    )
    model = LlamaForCausalLM(config)
    _teach(model, [ASSISTANT, *tokenizer.encode(UNPROMPTED).tokens, END], tokenizer)
    model.save_pretrained(folder)
    beacon = Beacon.like(BeaconConfig(window=WINDOW, stride=WINDOW, ratios=RATIOS), model)
    for parameter in beacon.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with TemporaryDirectory() as cache:
        fingerprint = model_fingerprint(folder, Path(cache))
    save_beacon(folder / "beacon", beacon, base_name="scripted", base_fingerprint=fingerprint)
    return folder


@cache
def scripted_tokenizer(more: str = "") -> Tokenizer:
    """What `make_tokenizer` makes, for tests that need no more of the model."""
    with TemporaryDirectory() as folder:
        make_tokenizer(Path(folder), more)
        return Tokenizer.from_folder(Path(folder))


def make_tokenizer(folder: Path, more: str = "") -> tokenizers.Tokenizer:
    """A byte-level BPE of 1,000 tokens, written into `folder` with a chat template.

    Args:
        more: text whose words it is to know too.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([_BOOK.read_text(encoding="utf-8"), more], trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (END, USER, ASSISTANT)]
    )
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    roles = {"chat_template": TEMPLATE, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(roles), encoding="utf-8")
    return tokenizer


@torch.no_grad()
def _teach(model: LlamaForCausalLM, tokens: Sequence[str], tokenizer: tokenizers.Tokenizer) -> None:
    """Let each of the tokens, whatever stands before it, be followed by the next."""
    assert len(set(tokens)) == len(tokens), tokens
    embeddings: Tensor = torch.nn.init.normal_(model.get_input_embeddings().weight)
    head: Tensor = torch.nn.init.normal_(model.lm_head.weight, std=0.02)
    for token, following in itertools.pairwise(map(tokenizer.token_to_id, tokens)):
        head[following] = embeddings[token] / embeddings[token].norm()


@dataclass(eq=False)
class Asked:
    """A question as the model read it.

    Attributes:
        prompt: what was read after the documents' finished intervals: the rest of them, the question, what is put
            around it; control tokens written out.
        logits: (vocabulary) of each token of the answer, the end included.
    """

    prompt: str
    logits: list[Tensor] = field(default_factory=list)

    @property
    def passages(self) -> list[str]:
        """What is read again before the question."""
        _, found, rest = self.prompt.rpartition("Passages read again:\n\n")
        return rest.rpartition(RULE)[0].split("\n\n") if found else []

    @property
    def request(self) -> str:
        """What follows the last rule: the question, and what ends the prompt."""
        return self.prompt.rpartition(RULE)[2]

    def equals(self, other: "Asked") -> bool:
        """Whether prompt and logits are the same, to the bit: then the memory was."""
        return (
            self.prompt == other.prompt
            and len(self.logits) == len(other.logits)
            and all(map(torch.equal, self.logits, other.logits))
        )


class Script:
    """What the model is to say, and what it was asked.

    Attributes:
        answers: to the first question, the second, …; the last is that to all others. None: what it says by itself.
        asked: the questions so far.
    """

    def __init__(self, folder: Path) -> None:
        self.answers: tuple[str | None, ...] = (None,)
        self.asked: list[Asked] = []
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._end = self._tokenizer.token_to_id(END)
        self._speaking: Asked | None = None
        self._words: Iterator[int] | None = None

    def __call__(self, *answers: str | None) -> None:
        """Begin anew, with these answers."""
        self.answers, self.asked, self._speaking = answers, [], None

    @contextmanager
    def followed(self) -> Iterator["Script"]:
        """Within this, the model follows the script."""
        read, pick, belief, doubt = SequenceReader.read, decoding.pick, decoding.belief, judging._doubt
        generate = decoding.generate
        judged = WeakKeyDictionary[SequenceReader, list[int]]()

        def reading(reader: SequenceReader, ids: Sequence[int]) -> Tensor:
            if len(ids) > 1:  # an answer is read token by token
                self._begin([*judged.get(reader, []), *ids])
            return read(reader, ids)

        def doubting(engine: Engine, passage: Passage, question: str) -> tuple[float, SequenceReader | None]:
            found, reader = doubt(engine, passage, question)
            if reader is not None:  # the question may be read after what it has read
                judged[reader] = [*engine.source.frame.opening, *engine.source.tokenizer.encode(passage.headed)]
            return found, reader

        def picking(logits: Tensor, temperature: float) -> int:
            if self._speaking is None:
                return pick(logits, temperature)
            self._speaking.logits.append(logits.clone())
            return pick(logits, temperature) if self._words is None else next(self._words)

        def searching(engine: Engine, after: PromptLookup, _texts: Any, **how: Any) -> Iterator[Any]:
            """Of what it is told to say, there is nothing likelier."""
            return generate(engine, after, temperature=0, **how)

        def believing(logits: Tensor) -> float:
            """What it is told to say it says with conviction."""
            return belief(logits) if self._words is None else 0.0

        with (
            mock.patch.object(SequenceReader, "read", reading),
            mock.patch.object(decoding, "pick", picking),
            mock.patch.object(decoding, "belief", believing),
            mock.patch.object(saying, "generate_likeliest", searching),
            mock.patch.object(judging, "_doubt", doubting),
        ):
            yield self

    def _begin(self, ids: Sequence[int]) -> None:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self._speaking = Asked(self._tokenizer.decode(list(ids), skip_special_tokens=False))
        self.asked.append(self._speaking)
        self._words = None
        if answer is not None:
            self._words = iter([*self._tokenizer.encode(answer).ids, self._end])

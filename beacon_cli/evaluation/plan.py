"""What is to be evaluated: one frozen record. Imports nothing heavy: `beacon eval --help` needs this."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from beacon_cli.errors import SettingsError
from beacon_cli.settings import Checked, Condense, read_flags, setting

Task = Literal["passkey", "needle", "topic", "perplexity", "qa"]
# What can condense for a model; "condensed" is what does if nothing else is said.
CONDENSERS = get_args(Condense)
METHODS = ("full", "truncated", "streaming", "condensed", "recall", "ask")
# What has to be asked a question.
_ASKED = ("recall", "ask")
LONGEST = 4 << 20


def read_tokens(text: str) -> int:
    """A whole number; `k` after it means 1,024.

    Raises:
        ValueError: for anything else.
    """
    found = re.fullmatch(r"(\d{1,9})(k?)", text.strip().lower())
    if not found:
        raise ValueError
    return int(found[1]) * (1024 if found[2] else 1)


def read_percent(text: str) -> float:
    """Per cent, as a part of 1.

    Raises:
        SettingsError: for anything else.
    """
    if not re.fullmatch(r"\s*(100|\d\d?)\s*", text):
        raise SettingsError(f"{text!r} is no percentage; write whole numbers from 0 to 100, like 0,50,100")
    return int(text) / 100


@dataclass(frozen=True)
class Plan(Checked):
    """An evaluation.

    Attributes:
        command: that asked for it, as the results tell it.
        files: a haystack, texts or questions, as the task has it; the embedded book if there are none.
        out: folder of the results; None keeps them nowhere.

    Raises:
        SettingsError: for what cannot be measured.
    """

    task: Task = setting(MISSING, "TASK", "passkey, needle, topic, perplexity or qa.", flag="")
    command: str = ""
    files: tuple[Path, ...] = ()
    out: Path | None = None
    ratios: tuple[int, ...] | None = setting(None, "N,…", "Condensing ratios.", shown="4,8,16", least=1)
    lengths: tuple[int, ...] = setting(
        (4096, 8192, 16384, 32768),
        "N,…",
        "Tokens of the texts; 4k is 4,096. perplexity: where a bucket of positions ends and the next begins.",
        shown="4k,8k,16k,32k",
        least=2,
        most=LONGEST,
        read=read_tokens,
        like="4k,16k",
    )
    depths: tuple[float, ...] = setting(
        (0.0, 0.25, 0.5, 0.75, 1.0),
        "P,…",
        "needle: where it is hidden, in per cent of the text.",
        shown="0,25,50,75,100",
        read=read_percent,
    )
    samples: int | None = setting(
        None,
        "N",
        "Questions for each length (needle: and depth); qa: of each file, drawn at random.",
        shown="10; needle: 1; qa: all",
        least=1,
        most=10_000,
    )
    seed: int = setting(0, "N", "The same one draws the same samples.")
    methods: tuple[str, ...] = setting(
        METHODS,
        "NAME,…",
        "full: full attention, up to the context; truncated: the middle cut out; streaming: sink and sliding window; "
        "condensed: from condensed memory alone; beacon, scorer, select: the same, by that, on the same weights; "
        "recall: from those parts of it that search finds; "
        "ask: as beacon ask does it, with passages read again.",
        shown=",".join(METHODS),
        choices=(*METHODS, *CONDENSERS),
    )
    stream: int | None = setting(
        None,
        "N",
        "streaming: tokens that sink and window hold together.",
        shown="the model's context",
        least=8,
        read=read_tokens,
    )
    needle: str | None = setting(None, "TEXT", "needle: the sentence to hide.", shown="own")
    question: str | None = setting(None, "TEXT", "needle: what to ask.")
    answer: str | None = setting(None, "TEXT", "needle: what is right.")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = (self.needle, self.question, self.answer)
        if any(given) and (self.task != "needle" or not all(given)):
            raise SettingsError("give --needle, --question and --answer together, and for the task needle alone")
        if self.task in ("passkey", "topic") and self.files:
            raise SettingsError(f"{self.task} makes its own texts: leave the files out")
        if self.task == "qa" and not self.files:
            raise SettingsError("qa needs questions: give files of JSON lines")
        if len({file.stem for file in self.files}) < len(self.files):
            raise SettingsError("two files have the same name, by which results are told apart: rename one")
        if not self.methods:
            raise SettingsError("perplexity asks no questions: choose other --methods")


def load_plan(task: str, flags: Mapping[str, Any], **more: Any) -> Plan:
    """A plan from flags: no value twice, lengths and depths in order; perplexity without methods that ask.

    Raises:
        SettingsError: for what cannot be measured.
    """
    plan = Plan(task=task, **read_flags(flags, Plan), **more)  # type: ignore[arg-type]  # `Plan` checks it
    return replace(
        plan,
        ratios=plan.ratios and tuple(dict.fromkeys(plan.ratios)),
        lengths=tuple(sorted(set(plan.lengths))),
        depths=tuple(sorted(set(plan.depths))),
        methods=tuple(name for name in dict.fromkeys(plan.methods) if task != "perplexity" or name not in _ASKED),
    )

"""A machine that reaches a hub, on which `beacon` is run."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.runner import Result

# `huggingface_hub` reads its environment when it is imported, and importing what converts and answers takes seconds:
# one process reaches the hub for all tests.
COMMANDS = """
import gc, json, os, sys
from tests.cli.runner import run
for line in sys.stdin:
    arguments, environment = json.loads(line)
    os.environ.update(environment)
    result = run(*arguments)
    gc.collect()
    print(json.dumps([result.code, result.out, result.err]), flush=True)
"""


@dataclass
class Machine:
    """A person's machine: the hub that it reaches, and what of it is here."""

    endpoint: str
    home: Path
    process: "subprocess.Popen[str] | None" = None

    def start(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        """A process that runs the command, and whatever is written to it."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        process = subprocess.Popen(
            [sys.executable, "-c", COMMANDS],
            env={**inherited, "HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.home), "NO_PROXY": "*"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        if command:
            self.send(process, *command)
        return process

    @staticmethod
    def send(process: "subprocess.Popen[str]", *command: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key.startswith("BEACON_")}
        assert process.stdin
        process.stdin.write(json.dumps([command, environment]) + "\n")
        process.stdin.flush()

    @staticmethod
    def receive(process: "subprocess.Popen[str]") -> Result:
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return Result(*json.loads(line))

    def run(self, *command: str) -> Result:
        if self.process is None:
            self.process = self.start()
        self.send(self.process, *command)
        return self.receive(self.process)

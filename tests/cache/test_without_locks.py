"""What a system without POSIX's file locks (Windows) gets: help, and one clear line where something would be kept."""

import subprocess
import sys
from pathlib import Path

import pytest

# filelock knows Windows' own locks; where it finds neither, it warns.
HIDDEN = (
    "import filelock, sys; sys.modules['fcntl'] = sys.modules['resource'] = None; "
    "import beacon_cli; from beacon_cli.app import main; main()"
)


def run_without_locks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDDEN, *arguments], capture_output=True, text=True, check=False)


def test_help_works_everywhere() -> None:
    result = run_without_locks("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "cache" in result.stdout


@pytest.mark.parametrize("command", [["cache", "list"], ["cache", "rm", "--all"]])
def test_what_needs_locks_says_so_in_one_line(command: list[str], cache_dir: Path) -> None:
    result = run_without_locks(*command)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert "on Windows, run it in WSL" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not cache_dir.exists()

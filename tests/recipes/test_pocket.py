"""The pocket model's recipe: its driver's laws, and all of its stages, the smallest there are."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from recipes.pocket.__main__ import SIZES, Stage, flags, main, make, rehearsal, stages
from tests.recipes.corpora import write_corpora

ROOT = Path(__file__).parents[2]
EXAMPLE = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
with (folder / "runs").open("a") as file:
    print(*sys.argv[2:], file=file)
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Corpora."""
    write_corpora(tmp_path / "data")
    return tmp_path / "data"


def size(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads((SIZES / f"{name}.toml").read_text(encoding="utf-8"))


def stage(out: Path, name: str, *words: str, code: str = EXAMPLE) -> Stage:
    return Stage(name, [sys.executable, "-S", "-c", code, str(out / name), *words], out / name)


def runs(out: Path, name: str) -> list[str]:
    """The arguments of every run since the folder was made."""
    return (out / name / "runs").read_text().splitlines()


def entries(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "stages.json").read_text())
    return found


def test_what_is_done_is_skipped_and_what_changed_is_made_anew_with_all_behind_it(tmp_path: Path) -> None:
    one, two, three = (stage(tmp_path, name) for name in ("one", "two", "three"))
    make([one, two], tmp_path)
    make([one, two, three], tmp_path)
    assert [runs(tmp_path, name) for name in ("one", "two", "three")] == [[""]] * 3
    make([one, stage(tmp_path, "two", "--more"), three], tmp_path)
    assert [runs(tmp_path, name) for name in ("one", "two", "three")] == [[""], ["--more"], [""]]
    assert [(entry["name"], entry["done"]) for entry in entries(tmp_path)] == [
        (s.name, True) for s in (one, two, three)
    ]


def test_what_failed_goes_on_from_its_state(tmp_path: Path) -> None:
    code = EXAMPLE + "if '--resume' not in sys.argv: (folder / 'state.pt').touch(); sys.exit(3)\n"
    code += "(folder / 'metrics.jsonl').write_text('{\"loss\": 2}\\n{\"loss\": 1}\\n')"
    todo = [stage(tmp_path, "one", code=code), stage(tmp_path, "two")]
    with pytest.raises(SystemExit, match="one failed with exit code 3"):
        make(todo, tmp_path)
    assert [entry["done"] for entry in entries(tmp_path)] == [False]
    make(todo, tmp_path)
    assert runs(tmp_path, "one") == ["", "--resume"]
    assert [entry["figures"] for entry in entries(tmp_path)] == [{"loss": 1}, None]


def test_a_stage_whose_time_is_over_is_interrupted_and_done(tmp_path: Path) -> None:
    script = "trap 'exit 130' INT; while :; do sleep 0.1; done"
    make([Stage("one", ["sh", "-c", script], tmp_path / "one", at_most=0.02)], tmp_path)
    assert entries(tmp_path)[0]["done"]


def test_flags() -> None:
    table = {"bf16": True, "pass_tokens": 7, "compile": False, "lengths": [1, 2]}
    assert flags(table) == ["--bf16", "--pass-tokens", "7", "--no-compile", "--lengths", "1", "2"]


def test_a_rehearsal_has_the_same_shapes() -> None:
    table = {"minutes": 10, "width": 512, "device": "cuda", "compile": True}
    short = rehearsal({"base": table, "beacon": {"steps": 7}})
    assert short == {"base": {"minutes": 0.1, "width": 512, "device": "cpu"}, "beacon": {"steps": 1}}


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_every_flag_of_a_size_is_one_of_its_stage(name: str) -> None:
    for each in stages(size(name), Path("data"), Path("out")):
        module = ROOT / (each.command[2].replace(".", "/") + ".py")
        commands = ROOT / "beacon_cli" / "commands"
        files = (
            [module, module.with_name("clock.py")]
            if module.exists()
            else [commands / f"{each.command[3]}.py", commands / "options.py"]
        )
        known = "".join(file.read_text(encoding="utf-8") for file in files)
        for flag in (word for word in each.command if word.startswith("--")):
            assert f'"{flag}"' in known or f"/{flag}" in known, (each.name, flag)


def test_all_stages(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        sys, "argv", ["recipes.pocket", "--data", str(small), "--size", "smoke", "--out", str(tmp_path / "out")]
    )
    main()
    made = {entry["name"]: entry["figures"] for entry in entries(tmp_path / "out")}
    assert list(made) == list(size("smoke"))
    assert made["beacon"]["step"] == 3
    assert made["base"]["tokens"] > 0
    assert {row["method"] for row in made["questions"]} == {"full", "beacon 8x"}
    before = entries(tmp_path / "out")
    main()
    assert entries(tmp_path / "out") == before

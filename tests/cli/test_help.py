"""``--help`` says what there is, at once; the commands have one name, and shells complete it."""

from __future__ import annotations

import importlib
import logging
import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import rsmoe.__main__
from rsmoe.cli.help import COMMANDS, help_text
from rsmoe.config import conf_dir
from rsmoe.settings import settings_of
from rsmoe.settings.model import fields_of, mapping_of

ROOT = Path(__file__).parents[2]
SLOW = "torch lightning torchmetrics scipy transformers rasterio".split()


def call(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        timeout=120,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_key_and_choice_and_nothing_else(name: str) -> None:
    text = help_text(name)
    settings = settings_of(name)
    lines = text.splitlines()
    assert lines[0].startswith(f"python -m {settings.module}: ")
    assert 3 <= len(settings.examples) <= 6 and all(
        f"  python -m {settings.module} {e}" in lines for e in settings.examples
    )
    for key, field in fields_of(settings):
        if mapping_of(field) is None and key not in settings.groups:
            assert any(line.split()[:1] in ([key], [f"+{key}"]) for line in lines), key
    for group in settings.groups:
        for choice in (conf_dir() / group).glob("*.yaml"):
            assert choice.stem in text
    assert ("vision" in text) == (name in ("train", "contrast")) or "vision" not in settings.groups
    assert max(map(len, lines)) <= 160


def test_every_command_is_listed_and_has_a_module() -> None:
    assert set(COMMANDS) == {path.stem for path in conf_dir().glob("*.yaml")}
    assert all(callable(importlib.import_module(settings_of(name).module).cli) for name in COMMANDS)


def test_ctrl_c_is_heard_before_a_library_is_loaded() -> None:
    """`entry.listen` runs once the module of a command is there: what that imports before cannot be interrupted."""
    modules = ["rsmoe.__main__", *(settings_of(name).module for name in COMMANDS)]
    script = (
        "import importlib, sys; before = set(sys.modules); importlib.import_module(sys.argv[1]);"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names);"
        "print(*sorted(new))"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, m], stdout=subprocess.PIPE, text=True) for m in modules]
    loaded = {module: child.communicate(timeout=120)[0].split() for module, child in zip(modules, running, strict=True)}
    assert loaded == {module: ["rsmoe"] for module in modules}


@pytest.mark.parametrize(
    "module",
    [
        "timings.metrics",
        "timings.experts",
        "timings.loading",
        "timings.search",
        "timings.instructblip",
        "timings.augmenting",
        "timings.cold_start",
        "timings.features",
    ],
)
def test_programs_that_are_no_commands_have_help(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with suppress(SystemExit):
        runpy.run_module(f"rsmoe.{module}", run_name="__main__")
    assert f"rsmoe.{module}" in capsys.readouterr().out


def test_no_command_imports_torch_for_help_or_a_typing_mistake() -> None:
    script = f"""
import importlib, io, sys
from contextlib import redirect_stdout
from rsmoe.cli.help import COMMANDS
from rsmoe.settings import settings_of
for name in COMMANDS:
    cli = importlib.import_module(settings_of(name).module).cli
    with redirect_stdout(io.StringIO()) as out:
        cli(["--help"])
    assert out.getvalue().startswith("python -m"), name
    for words in (["nosuch=1"], ["~foo"], ["-m", "nosuch=1"]):
        try:
            cli(words)
        except SystemExit as error:
            assert str(error).startswith("error: "), (name, error)
        else:
            raise AssertionError(name)
assert not [m for m in {SLOW} if m in sys.modules], sorted(sys.modules)
print("done")
"""
    done = call("-c", script)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


def test_a_command_as_a_process() -> None:
    done = call("-X", "importtime", "-m", "rsmoe.score", "--help")
    assert done.returncode == 0 and done.stdout.startswith("python -m rsmoe.score: ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {*SLOW, "hydra"}


def test_the_console_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def typed(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rsmoe", *words])
        rsmoe.__main__.main()
        return capsys.readouterr().out

    assert all(f"  {name} " in typed() for name in COMMANDS)
    assert typed("predict", "--help").startswith("python -m rsmoe.predict: ")
    with pytest.raises(SystemExit, match="Did you mean 'train'"):
        typed("trian", "seed=1")
    with pytest.raises(SystemExit, match="error: seed=x"):
        typed("train", "seed=x")
    assert sys.argv == ["rsmoe", "train", "seed=x"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("rsmoe ", "change_detection"), ("rsmoe tr", "train"), ("rsmoe train experiment=ucm_m", "experiment=ucm_moe")],
)
def test_shells_complete(
    typed: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", typed)
    monkeypatch.setenv("COMP_POINT", str(len(typed)))
    monkeypatch.setattr(sys, "argv", ["rsmoe", "-sc", "query=bash"])
    rsmoe.__main__.main()
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-sc", "install=bash"], "complete"),
        (["--hydra-help"], "Hydra"),
        (["--cfg", "job", "seed=3"], "seed: 3"),
        (["--cfg", "job", "--package", "loader"], "eval_batch_size"),
        (["--info", "defaults"], "Defaults List"),
    ],
)
def test_hydra_s_own_options(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rsmoe.train import cli

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        cli(words)
    except SystemExit as stopped:
        assert not stopped.code
    finally:  # --info logs everything, from then on and to the output of this test
        root.handlers[:] = handlers
        root.setLevel(level)
    assert expected in capsys.readouterr().out

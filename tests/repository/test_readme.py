"""Every command that the README shows can be typed: modules exist, overrides compose, make targets are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from rsmoe.config import compose, conf_dir
from rsmoe.metrics.protocols import protocol_table

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def _commands() -> list[str]:
    """Lines of the ```bash blocks, continuation lines joined, comments and prompts removed."""
    text = README.read_text(encoding="utf-8") if README.is_file() else ""
    blocks = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").strip() for line in lines if line.strip() and not line.startswith("#")]


def _python_commands() -> list[str]:
    return [line for line in _commands() if re.search(r"python3? -m rsmoe\.", line)]


def test_readme_starts_with_the_two_commands() -> None:
    assert {"make train", "make test"} <= {line.split("#")[0].strip() for line in _commands()}


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for line in _commands() if line.startswith("make ") for word in shlex.split(line, comments=True)[1:2]}
    assert named - targets == set()


@pytest.mark.parametrize("command", _python_commands())
def test_python_command_of_the_readme_composes(command: str) -> None:
    words = shlex.split(command, comments=True)
    words = words[words.index("-m") + 1 :]
    module = words[0]
    assert importlib.util.find_spec(module) is not None, module
    name = module.split(".")[-1]
    overrides = [word for word in words[1:] if "=" in word and not word.startswith("-")]
    if {"-m", "--multirun"} & set(words[1:]):  # a sweep: its first job
        overrides = [re.sub(r"=([^\[,]+),.*", r"=\1", override) for override in overrides]
    if not (conf_dir() / f"{name}.yaml").is_file():  # a plain script: its arguments are its own
        assert module.count(".") > 1, f"{module} has no conf/{name}.yaml"
        return
    assert compose([o for o in overrides if not o.startswith(("hydra.", "hydra/"))], name=name)


def test_readme_holds_every_protocol() -> None:
    assert protocol_table() in README.read_text(encoding="utf-8")

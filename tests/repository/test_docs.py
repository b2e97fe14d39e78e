"""README, docs and studies: every command can be typed, every link leads somewhere, and pages stay short."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from rsmoe.cli.check import checked
from rsmoe.cli.help import COMMANDS
from rsmoe.settings import settings_of

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "experiments").glob("*/README.md"))
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if not {"generated", "_build"} & set(path.parts)),
    ROOT / "experiments/README.md",
    *STUDIES,
]
NAME = {settings_of(name).module: name for name in COMMANDS}


def _commands(page: Path) -> list[str]:
    """Lines of the ```bash blocks, continuation lines joined; comments and the lines of a here-document left out."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    text = re.sub(r"<<'END'.*?^END$", "", "".join(blocks), flags=re.MULTILINE | re.DOTALL)
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _rsmoe_commands() -> list[str]:
    found = [line.split(" #")[0].rstrip() for page in PAGES for line in _commands(page)]
    return list(dict.fromkeys(line for line in found if re.search(r"(^|\s)(-m rsmoe\.|rsmoe )", line)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_yaml_can_be_read(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        assert isinstance(yaml.safe_load(block), dict), block


def _links(page: Path) -> set[str]:
    """Relative files that a page links to or shows."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return {target.split("#")[0] for target in targets if not target.startswith(("http", "#", "mailto:"))} - {""}


@pytest.mark.parametrize("command", _rsmoe_commands())
def test_a_command_of_the_documentation_can_be_typed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the work itself: modules, groups, keys and values are checked as in a shell."""
    words = shlex.split(command)
    if "-m" in words:
        module, *words = words[words.index("-m") + 1 :]
        assert importlib.util.find_spec(module) is not None, module
        if module not in NAME:  # a plain script, whose arguments are its own
            assert module.count(".") > 1, f"{module} is no command"
            return
        name = NAME[module]
    else:
        name, *words = words[words.index("rsmoe") + 1 :]
    monkeypatch.chdir(tmp_path)  # "out=" is looked at, to see whether it can be written
    monkeypatch.setattr(sys, "argv", ["rsmoe"])
    bare = [word for word in words if "=" not in word and not word.startswith("-")]
    typed = [word for word in words if word not in bare and not word.startswith("hydra/launcher=")]
    assert name in ("compare", "search", "localise") or not bare, bare
    if bare:
        typed.append(f"runs=[{','.join(bare)}]" if name == "compare" else f"text={' '.join(bare)}")
    assert len(checked(name, typed)) >= len(typed)


def test_the_readme_names_both_make_commands() -> None:
    assert {"make train", "make test"} <= {line.split("#")[0].strip() for line in _commands(ROOT / "README.md")}


def test_make_targets_of_the_documentation_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for page in PAGES for line in _commands(page) if line.startswith("make ")]
    assert {shlex.split(line, comments=True)[1] for line in lines} - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    missing = []
    for target in _links(page):
        path = (page.parent / target).resolve()
        if "generated" in path.parts:  # written by docs/reference_pages; Sphinx checks these links
            continue
        if not path.exists():
            missing.append(target)
    assert missing == []


def test_the_readme_has_at_most_200_lines() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= 200


@pytest.mark.parametrize("page", STUDIES, ids=lambda page: page.parent.name)
def test_a_study_is_one_screen(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n") <= 60
    assert all(f"**{part}" in text for part in ("Question", "Verdict")) and "```bash" in text

"""Pages of the reference, which are written from code and configs: nothing is missing, and nothing is stale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rsmoe.cli.help import COMMANDS
from rsmoe.metrics import protocols as known_protocols
from rsmoe.settings import settings_of
from rsmoe.settings.model import fields_of, mapping_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def importable() -> object:
    sys.path.insert(0, str(ROOT / "docs"))
    yield
    sys.path.remove(str(ROOT / "docs"))


def names(group: str) -> set[str]:
    return {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}


def headings(page: str, level: str) -> set[str]:
    return {line.removeprefix(level).strip("` ") for line in page.splitlines() if line.startswith(f"{level} ")}


def test_every_data_set_has_a_row_and_a_section() -> None:
    from reference_pages import data_sets

    page = data_sets.pages(ROOT)["data_sets.md"]
    assert headings(page, "###") == names("data")
    assert {name for name in names("data") if f"| [`{name}`](#data-{name.replace('_', '-')}) |" not in page} == set()
    listed = [name for kinds in data_sets.TASKS.values() for of in kinds.values() for name in of.split()]
    assert len(listed) == len(set(listed)) and set(listed) - names("data") == set()


def test_every_protocol_is_there() -> None:
    from reference_pages import protocols

    assert headings(protocols.pages(ROOT)["protocols.md"], "###") == {protocol.id for protocol in known_protocols()}


def test_every_command_and_key_is_there() -> None:
    from reference_pages import commands

    page = commands.pages(ROOT)["commands.md"]
    assert headings(page, "##") == set(COMMANDS)
    for name in COMMANDS:
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        settings = settings_of(name)
        keys = [key for key, field in fields_of(settings) if mapping_of(field) is None and key not in settings.groups]
        assert [key for key in keys if f"| `{key}` |" not in section and f"| `+{key}` |" not in section] == []


def test_every_experiment_benchmark_and_choice_is_there() -> None:
    from reference_pages import benchmarks, experiments, groups

    assert headings(experiments.pages(ROOT)["experiments.md"], "##") == names("experiment")
    assert headings(benchmarks.pages(ROOT)["benchmarks.md"], "##") == names("benchmark")
    page = groups.pages(ROOT)["groups.md"]
    assert headings(page, "##") == {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert {name for name in names("router") | names("vision") if f"| `{name}` |" not in page} == set()


def test_the_documented_example_is_the_tested_one() -> None:
    from reference_pages import extension

    page = extension.pages(ROOT)["extension_example.md"]
    assert "`conf/metric/toy.yaml`" in page and "class ToyEncoder(nn.Module):" in page


def test_comments_of_yamls_become_markdown() -> None:
    from reference_pages.markdown import code, code_of_rst, prose, text_of

    assert prose("see https://a.org/b_c; type data.tasks=[a,b] or ~x.") == (
        "see <https://a.org/b_c>; type `data.tasks=[a,b]` or \\~x."
    )
    assert code("a|b") == "`a\\|b`"
    assert code_of_rst("One ``Sample`` of `a.b`.") == "One `Sample` of `a.b`."
    assert text_of(["a short line", "Another", "goes on"]) == "a short line. Another goes on"

"""What a stranger gets: a fast import, a whole wheel, a tidy tree, a network guard that guards."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
REQUIRED = {
    "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "CITATION.cff", "Makefile",
    "rsmoe", "conf", "docs", "experiments", "notebooks", "tests", ".ci", ".github", ".gitignore",
}  # fmt: skip
ALLOWED = REQUIRED | {".git", "benchmarks"}


def test_import_is_instant_and_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import rsmoe; took = time.perf_counter() - start;"
        "heavy = {'torch', 'transformers', 'lightning', 'matplotlib', 'wandb', 'rasterio', 'hydra'} & set(sys.modules);"
        "print(took, *heavy)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.split()
        for _ in range(3)
    ]
    assert min(float(took) for took, *_ in runs) < 0.5
    assert runs[0][1:] == []


def test_wheel_holds_the_package_and_its_configs(tmp_path: Path) -> None:
    # in the test's own environment: no build isolation, no network
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for top, inside in (("rsmoe", "rsmoe"), ("conf", "rsmoe/conf")):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in (".py", ".yaml", ".html"):
                assert f"{inside}/{path.relative_to(ROOT / top).as_posix()}" in names
    assert "rsmoe/py.typed" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"rsmoe"}
    import rsmoe

    assert {f"rsmoe/starter/{name}" for name in ("README.md", "config.json", "model.safetensors")} <= names
    assert wheel.name.startswith(f"rsmoe-{rsmoe.__version__}-py3")


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)
    pinned = dict(line.split("==") for line in lines)
    assert len(pinned) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in project["dependencies"] + extras["dev"] + extras["docs"]:
        requirement = Requirement(line)
        assert requirement.specifier, f"{line} has no bound"
        assert requirement.specifier.contains(pinned[requirement.name]), line


def test_dependencies_need_no_torchvision() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        hard = [Requirement(r) for r in requires(Requirement(line).name) or []]
        named = {r.name.lower() for r in hard if r.marker is None or r.marker.evaluate({"extra": ""})}
        assert "torchvision" not in named, line


def test_every_file_of_the_licence_and_citation_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.count("\n") > 195
    assert "END OF TERMS AND CONDITIONS" in text
    from omegaconf import OmegaConf

    citation = OmegaConf.load(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "license", "references"} <= set(citation)
    for reference in citation.references:
        assert {"type", "title", "authors", "year"} <= set(reference), reference
    import rsmoe

    assert citation.version == rsmoe.__version__


def test_top_level_is_what_the_readme_says_it_is() -> None:
    generated = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()}
    found = {path.name for path in ROOT.iterdir() if not any(path.match(pattern) for pattern in generated)}
    assert REQUIRED - found == set()
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    "top", ["rsmoe", "conf", "docs", "experiments", "notebooks", "README.md", "Makefile", "pyproject.toml"]
)
def test_no_file_names_a_folder_of_one_machine(top: str) -> None:
    path = ROOT / top
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.suffix in (".py", ".yaml", ".md", ".ipynb")]
    pattern = re.compile(r"(?<![\w.])/(?:work|root|tmp|home)/|\.\./shared")
    assert [f"{file}: {hit.group()}" for file in files for hit in pattern.finditer(file.read_text())] == []


def test_make_targets_say_what_they_do() -> None:
    out = subprocess.run(["make", "help"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for target in ("train", "test", "lint", "clean"):
        assert re.search(rf"^{target}\s+\S", out, re.MULTILINE), out


@pytest.mark.parametrize(
    ("cores", "arguments", "words"),
    [
        (2, "", ["experiment=rsicap_moe", "trainer=cpus"]),
        (1, "", ["experiment=rsicap_moe"]),
        (2, "experiment=ucm_moe seed=1", ["trainer=cpus", "experiment=ucm_moe", "seed=1"]),
        (2, "trainer=gpu", ["experiment=rsicap_moe", "trainer=gpu"]),
        (2, "trainer.devices=1", ["experiment=rsicap_moe", "trainer.devices=1"]),
    ],
)
def test_make_train_runs_the_main_experiment_on_two_cores_unless_told_another(
    cores: int, arguments: str, words: list[str]
) -> None:
    out = subprocess.run(
        ["make", "--dry-run", "train", f"CORES={cores}", f"ARGS={arguments}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout
    command = shlex.split(next(line for line in out.splitlines() if "rsmoe.train" in line))
    assert command[command.index("rsmoe.train") + 1 :] == words


def test_network_is_blocked_but_loopback_is_not() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
    with socket.socket() as outside, pytest.raises(RuntimeError, match="without the network"):
        outside.connect(("192.0.2.1", 80))  # an address that no machine has (RFC 5737)

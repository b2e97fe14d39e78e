"""Studies: the pages and pictures of ``experiments/`` as they are, and an index."""

from __future__ import annotations

from pathlib import Path


def pages(root: Path) -> dict[str, str | bytes]:
    """Every markdown file and picture under ``studies/``; the README of the folder becomes the index."""
    folder = root / "experiments"
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".md", ".png", ".jpg"))
    found: dict[str, str | bytes] = {
        f"studies/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files
    }
    index = found.pop("studies/README.md")
    assert isinstance(index, bytes)
    names = [path.parent.name for path in files if path.name == "README.md" and path.parent != folder]
    logs = [path.parent.name for path in files if path.name == "LOG.md"]
    entries = [f"{name} <{name}/README>" for name in names] + [f"{name}: log <{name}/LOG>" for name in logs]
    tree = "\n".join(["```{toctree}", ":hidden:", "", *entries, "```"])
    found["studies/index.md"] = f"{index.decode()}\n{tree}\n"
    return found

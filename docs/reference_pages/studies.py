"""Studies: the pages and pictures of ``experiments/``, as they are."""

from __future__ import annotations

from pathlib import Path


def pages(root: Path) -> dict[str, str | bytes]:
    """Every markdown file and picture, under ``studies/``."""
    folder = root / "experiments"
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".md", ".png", ".jpg"))
    return {f"studies/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}

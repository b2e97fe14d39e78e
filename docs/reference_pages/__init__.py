"""Pages that are written at build time: each module holds one ``pages() -> dict[path, markdown]``."""

from __future__ import annotations

import shutil
from pathlib import Path

from reference_pages import api, benchmarks, commands, data_sets, experiments, extension, groups, protocols, studies

ROOT = Path(__file__).parents[2]


def write_pages(folder: Path) -> None:
    """Writes every page below ``folder``; leaves unchanged ones untouched, and removes those that are gone."""
    pages: dict[str, str | bytes] = {}
    for module in (api, benchmarks, commands, data_sets, experiments, extension, groups, protocols, studies):
        pages |= module.pages(ROOT)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        content = text.encode() if isinstance(text, str) else text
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)

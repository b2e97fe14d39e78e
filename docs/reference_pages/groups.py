"""Config groups: the folders of ``conf/`` with every choice in them."""

from __future__ import annotations

from pathlib import Path

from reference_pages.markdown import code, comment_of, prose, table, text_of
from rsmoe.cli.help import COMMANDS
from rsmoe.settings.model import settings_of

ELSEWHERE = {"data": "data_sets.md", "experiment": "experiments.md", "benchmark": "benchmarks.md"}
HEAD = """# Config groups

Each group is a folder of `conf/`, each choice one yaml in it: `router=uniform` takes `conf/router/uniform.yaml`. A
folder of your own yamls is added with `--config-dir my_conf`.
"""


def pages(root: Path) -> dict[str, str | bytes]:
    """The page of all groups."""
    meaning = {}
    for name in COMMANDS:
        settings = settings_of(name)
        for group in settings.groups:
            if group in settings.model_fields:
                meaning.setdefault(group, settings.model_fields[group].description or "")
    lines = [HEAD]
    for folder in sorted(path for path in (root / "conf").iterdir() if path.is_dir()):
        lines.append(f"## {folder.name}\n")
        if folder.name in meaning:
            text = meaning[folder.name]
            lines.append(prose(text[:1].upper() + text[1:]) + ".\n")
        if folder.name in ELSEWHERE:
            lines.append(f"See [the page of all of them]({ELSEWHERE[folder.name]}).\n")
            continue
        rows = [[code(path.stem), prose(text_of(comment_of(path)))] for path in sorted(folder.glob("*.yaml"))]
        lines.append(table([code(f"{folder.name}="), "what it is"], rows))
    return {"groups.md": "\n".join(lines)}

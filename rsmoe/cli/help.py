"""What ``--help`` prints, out of a command's settings and its yaml; nothing is composed for it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rsmoe.settings import Settings, settings_of
from rsmoe.settings.model import fields_of, mapping_of, shown

COMMANDS = (
    "train", "evaluate", "predict", "serve", "score", "inspect", "overlap", "shard", "compare", "stress", "swap",
    "experts", "change_detection", "export", "index", "search", "localise", "segment", "knowledge",
    "contrast", "convert_clip",
)  # fmt: skip
"""Names of the commands, which are those of their yamls."""


def help_text(name: str) -> str:
    """Help of a command: purpose, examples, keys with default values, groups with choices."""
    settings = settings_of(name)
    folder = _conf()
    content = yaml.safe_load((folder / f"{name}.yaml").read_text())
    chosen = _chosen(content.pop("defaults", []))
    lines = [f"python -m {settings.module}: {_sentence(settings)}", "", "Examples:"]
    lines += [f"  python -m {settings.module} {words}" for words in settings.examples]
    keys = [
        _key(key, field, content, settings.groups) for key, field in fields_of(settings) if mapping_of(field) is None
    ]
    keys = [row for row in keys if row[0] not in settings.groups]
    lines += ["", "Keys, typed as key=value (+key=value where it begins with +):"]
    lines += _rows(keys)
    groups = {group: sorted(p.stem for p in (folder / group).glob("*.yaml")) for group in settings.groups}
    if any(groups.values()):
        lines += ["", "Groups, typed as group=choice:"]
        lines += _rows([(g, chosen.get(g, ""), ", ".join(names)) for g, names in groups.items() if names])
    lines += [
        "",
        "Paths and texts are taken as typed. Several values of a key are a sweep: -m seed=0,1. See also --hydra-help.",
    ]
    return "\n".join(lines)


def commands_text() -> str:
    """The list of commands."""
    rows = [(name, "", _sentence(settings_of(name))) for name in COMMANDS]
    return "\n".join(["rsmoe <command> key=value ...; rsmoe <command> --help shows its keys", "", *_rows(rows)])


def _conf() -> Path:
    package = Path(__file__).parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def _sentence(settings: type[Settings]) -> str:
    return (settings.__doc__ or "").strip().splitlines()[0]


def _chosen(defaults: list[Any]) -> dict[str, str]:
    found = {}
    for entry in defaults:
        for group, choice in entry.items() if isinstance(entry, Mapping) else ():
            if not group.startswith("override"):
                known = ",".join(choice) if isinstance(choice, list) else str(choice or "")
                found[group.removeprefix("optional ")] = "(required)" if known == "???" else known
    return found


def _key(key: str, field: Any, content: Any, groups: Sequence[str]) -> tuple[str, str, str]:
    value = content
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return (key if key.split(".")[0] in groups else f"+{key}", "", field.description)
        value = value[part]
    return key, "(required)" if value == "???" else shown(value), field.description


def _rows(rows: list[tuple[str, str, str]]) -> list[str]:
    wide = max(60, min(120, shutil.get_terminal_size((120, 24)).columns))
    first, second = (min(26, max(len(row[i]) for row in rows)) for i in (0, 1))
    lines = []
    for name, value, text in rows:
        head = f"  {name:<{first}}  {value:<{second}}  " if second else f"  {name:<{first}}  "
        lines += textwrap.wrap(text, wide, initial_indent=head, subsequent_indent=" " * (first + second + 6)) or [head]
    return lines

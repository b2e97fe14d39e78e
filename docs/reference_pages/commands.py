"""Commands: what each does, examples, and its keys, from `rsmoe.settings` and ``conf/<command>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reference_pages.markdown import code, fenced, prose, table
from rsmoe.cli.help import COMMANDS
from rsmoe.settings.model import expected, fields_of, mapping_of, settings_of

HEAD = """# Commands and their keys

`rsmoe <command>` and `python -m rsmoe.<module>` are the same. Keys are typed as `key=value`, lists as `key=[a,b]`,
several values of one key after `-m` as a sweep: `-m seed=0,1,2`. `--help` prints a command's keys, `--cfg job` the
config that it would run with. A key that begins with `+` has no default value and is added. Choices of the groups:
[Config groups](groups.md).
"""


def pages(root: Path) -> dict[str, str | bytes]:
    """The page of all commands."""
    sections = [_section(root / "conf", name) for name in COMMANDS]
    return {"commands.md": "\n".join([HEAD, *sections])}


def _section(conf: Path, name: str) -> str:
    settings = settings_of(name)
    content = yaml.safe_load((conf / f"{name}.yaml").read_text(encoding="utf-8"))
    lines = [f"## {name}\n", prose((settings.__doc__ or "").strip().split("\n\n")[0]) + "\n"]
    lines.append(fenced("\n".join(f"python -m {settings.module} {words}" for words in settings.examples), "bash"))
    rows = []
    for key, field in fields_of(settings):
        if mapping_of(field) is not None or key in settings.groups:
            continue
        given, value = _default(content, key)
        shown = ("(required)" if value == "???" else _value(value)) if given else ""
        added = "" if given or key.split(".")[0] in settings.groups else "+"
        what = prose(expected(field.annotation, tuple(field.metadata)))
        rows.append([code(added + key), code(shown), f"{prose(field.description or '')} *({what})*"])
    lines.append(table(["key", "default", "meaning"], rows))
    groups = [group for group in settings.groups if any((conf / group).glob("*.yaml"))]
    if groups:
        lines.append("Groups: " + ", ".join(f"[`{g}=`](groups.md#{g.replace('_', '-')})" for g in groups) + ".\n")
    return "\n".join(lines)


def _default(content: Any, key: str) -> tuple[bool, Any]:
    value = content
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _value(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace("'", "") if isinstance(value, list | dict) else text

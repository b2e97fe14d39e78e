"""Markdown out of comments, values and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def comment_of(path: Path) -> list[str]:
    """The comment that a yaml begins with, line by line, without the line that names its package."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return [line for line in lines if not line.startswith("@package")]


def body_of(path: Path, leave_out: Sequence[str] = ()) -> str:
    """The yaml behind that comment, without the top-level keys ``leave_out``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    while lines and lines[0].startswith("#"):
        del lines[0]
    kept, skip = [], False
    for line in lines:
        if line and not line[0].isspace():
            skip = line.partition(":")[0] in leave_out
        if not skip:
            kept.append(line)
    return "\n".join(kept).rstrip()


def prose(text: str) -> str:
    """Plain text as markdown: web addresses become links, and no other sign has a meaning."""
    parts = re.split(r"(https?://[^\s;,)]*[^\s;,).])", " ".join(text.split()))
    return "".join(f"<{part}>" if i % 2 else re.sub(r"([\\`*_<>|\[\]~])", r"\\\1", part) for i, part in enumerate(parts))


def code(text: object) -> str:
    """Text as code, fit for a cell of a table; "" for nothing."""
    words = str(text).replace("|", "\\|")
    if not words:
        return ""
    return f"`` {words} ``" if "`" in words else f"`{words}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def fenced(text: str, language: str = "yaml") -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```\n"


def link_to(target: str) -> str:
    """A link to a documented object, shown by its last name."""
    return "{py:obj}`" + f"{target.rpartition('.')[2]} <{target}>" + "`"

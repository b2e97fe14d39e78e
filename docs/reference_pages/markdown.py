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


def text_of(lines: Sequence[str]) -> str:
    """Lines of a comment as one paragraph. A short line before a capital was not wrapped: there a sentence ends."""
    text, before = "", ""
    for line in lines:
        ends = before and len(before) < 95 and before[-1] not in ".:;,(" and line[:1].isupper()
        text += f"{'.' if ends else ''}{' ' if text else ''}{line}"
        before = line
    return text


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


_ADDRESS = r"https?://[^\s;,)]*[^\s;,).]"
_KEY = r"(?<![\w=])[+~]?[a-z_][\w.@/]*=(?:\[[^\]]*\]|<\w+>|\.\.\.|[^\s;:)]*[^\s,;:.)])"


def prose(text: str) -> str:
    """Plain text as markdown: web addresses become links, ``key=value`` code, and no other sign has a meaning."""
    found = []
    for i, part in enumerate(re.split(f"({_ADDRESS}|{_KEY})", re.sub(r"\s+", " ", text))):
        if i % 2:
            found.append(f"<{part}>" if part.startswith("http") else code(part.strip("'")))
        else:
            found.append(re.sub(r"([\\`*_<>|\[\]~])", r"\\\1", part))
    return "".join(found)


def code(text: object) -> str:
    """Text as code, fit for a cell of a table; "" for nothing."""
    words = str(text).replace("|", "\\|")
    if not words:
        return ""
    return f"`` {words} ``" if "`" in words else f"`{words}`"


def code_of_rst(text: str) -> str:
    """The text of a docstring, whose marks of code become those of markdown."""
    parts = " ".join(text.replace("``", "`").split()).split("`")
    return "".join(code(part) if i % 2 else prose(part) for i, part in enumerate(parts))


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

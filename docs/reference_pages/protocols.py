"""Protocols: how each number is computed."""

from __future__ import annotations

from pathlib import Path

from reference_pages.markdown import code, prose
from rsmoe.metrics import protocols as known_protocols

HEAD = """# Protocols

Every number carries the id of the protocol that computed it, `<family>/<name>@<version>`. A protocol never changes: a
correction gets the next version. Nothing is dropped from a denominator, and an answer that cannot be parsed counts as
wrong. Numbers of generated scenes have `generated/` in front.

`rsmoe score protocol=<id> predictions=... references=...` computes any of them on predictions of any model.
"""


def pages(root: Path) -> dict[str, str | bytes]:
    """The page of all protocols, by family."""
    lines, family = [HEAD], ""
    for protocol in known_protocols():
        if protocol.id.partition("/")[0] != family:
            family = protocol.id.partition("/")[0]
            lines.append(f"## {family}\n")
        lines += [f"### `{protocol.id}`\n", prose(protocol.sentence) + "\n"]
        if protocol.tasks:
            lines.append(f"- Tasks: {', '.join(code(task) for task in protocol.tasks)}")
        lines.append(f"- Source: {prose(protocol.source)}")
        if protocol.scorer:
            within = f", within {protocol.tolerance}" if protocol.tolerance else ""
            lines.append(f"- Equals: {prose(protocol.scorer)}{within}")
        lines.append("")
    return {"protocols.md": "\n".join(lines)}

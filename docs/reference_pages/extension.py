"""The files of the extension test, so that what is documented is what is tested."""

from __future__ import annotations

import ast
from pathlib import Path

from reference_pages.markdown import fenced


def pages(root: Path) -> dict[str, str | bytes]:
    """Path -> content in the dictionary ``FILES`` of ``test_extension.py``, as blocks of code for a page to include."""
    (path,) = (root / "tests").rglob("test_extension.py")
    files: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FILES":
            files = ast.literal_eval(node.value)
    if not files:
        raise ValueError(f"{path} has no dictionary FILES; docs/how_to/extend.md shows it")
    blocks = [
        f"`{name}`\n\n" + fenced(text.strip("\n"), "python" if name.endswith(".py") else "yaml")
        for name, text in files.items()
        if text.strip()
    ]
    return {"extension_example.md": "\n".join(blocks)}

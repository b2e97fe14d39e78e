"""API: one page a package, with every public name of its modules."""

from __future__ import annotations

import ast
from pathlib import Path

from reference_pages.markdown import code_of_rst, table

HEAD = """# API

Each package's page begins with its contract: what it takes, what it gives, and what a part of your own must have.

"""


def pages(root: Path) -> dict[str, str | bytes]:
    """An index, and a page for each package."""
    packages = sorted(path.parent for path in (root / "rsmoe").rglob("__init__.py"))
    found: dict[str, str | bytes] = {}
    rows = []
    for package in packages:
        name = ".".join(package.relative_to(root).parts)
        modules = [path for path in sorted(package.glob("*.py")) if path.stem not in ("__init__", "__main__")]
        documented = [path for path in modules if _docstring(path)]
        if not documented and not _docstring(package / "__init__.py"):
            continue
        rows.append((name, _docstring(package / "__init__.py").split("\n\n")[0]))
        lines = [f"# {name}\n", _automodule(name)]
        if name == "rsmoe.settings":  # the keys of every command have a page, generated/commands.md
            documented = []
        for path in documented:
            lines += [f"## {path.stem}\n", _automodule(f"{name}.{path.stem}")]
        found[f"api/{name}.md"] = "\n".join(lines)
    listed = table(["package", "what it is"], [[f"[{name}]({name}.md)", code_of_rst(text)] for name, text in rows])
    tree = "\n".join(["```{toctree}", ":hidden:", "", *(name for name, _ in rows), "```"])
    found["api/index.md"] = f"{HEAD}{listed}\n{tree}\n"
    return found


def _automodule(name: str) -> str:
    """What a module defines itself; names that it imports stand where they are from."""
    return f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :ignore-module-all:\n```\n"


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

"""Experiments: the yamls of ``conf/experiment``, each with its command."""

from __future__ import annotations

from pathlib import Path

from reference_pages.markdown import body_of, comment_of, fenced, prose, text_of

HEAD = """# Experiments

`python -m rsmoe.train experiment=<name>` trains one of them; every key can be overridden behind it. Their results are
in the [studies](studies/index.md).
"""


def pages(root: Path) -> dict[str, str | bytes]:
    """The page of all experiments."""
    lines = [HEAD]
    for path in sorted((root / "conf/experiment").glob("*.yaml")):
        first, *rest = comment_of(path) or [""]
        command, _, remark = first.partition("   ")
        lines.append(f"## {path.stem}\n")
        if command.startswith("python"):
            lines.append(fenced(command.strip(), "bash"))
            remark = remark.strip()
            text = f"{remark[:1].upper()}{remark[1:]}. {text_of(rest)}" if remark else text_of(rest)
        else:
            text = text_of([first, *rest])
        lines += [prose(text) + "\n", fenced(body_of(path))]
    return {"experiments.md": "\n".join(lines)}

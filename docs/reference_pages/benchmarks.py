"""Benchmarks: the yamls of ``conf/benchmark``, which ``rsmoe evaluate`` runs."""

from __future__ import annotations

from pathlib import Path

from reference_pages.markdown import body_of, comment_of, fenced, prose, text_of

HEAD = """# Benchmarks

`rsmoe evaluate checkpoint=runs/... benchmark=<name>` answers a test set and scores it under the protocols below, with
trivial baselines and 95 % bootstrap intervals. `benchmark=[a,b]` runs several; an interrupted evaluation continues
where it stopped. What a protocol computes: [Protocols](protocols.md).
"""


def pages(root: Path) -> dict[str, str | bytes]:
    """The page of all benchmarks."""
    lines = [HEAD]
    for path in sorted((root / "conf/benchmark").glob("*.yaml")):
        lines += [f"## {path.stem}\n", prose(text_of(comment_of(path))) + "\n", fenced(body_of(path))]
    return {"benchmarks.md": "\n".join(lines)}

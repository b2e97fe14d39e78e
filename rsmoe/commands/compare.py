"""``python -m rsmoe.commands.compare runs/*``: the table that a paper needs, as Markdown and LaTeX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from rsmoe.metrics.bootstrap import Interval
    from rsmoe.studies.comparison import Cell, Column, Comparison


def to_markdown(table: Comparison, *, digits: int) -> str:
    """A heading, the table with the best in bold, and the protocols."""
    head = ["method", "seeds", *(metric for metric, _ in table.columns)]
    lines = [f"## {_title(table)}", "", _row(head), "|---|" + "---:|" * (len(head) - 1)]
    for label, cells in table.rows.items():
        lines.append(_row([label, str(table.seeds.get(label, 0)), *_markdown(table, cells, digits)]))
    for label, cells in table.baselines.items():
        lines.append(_row([f"*{label}*", "", *_markdown(table, cells, digits)]))
    lines += ["", f"Protocols: {', '.join(_protocols(table))}.", ""]
    if table.differences:
        shown = [c for c in table.columns if any(c in row for row in table.differences.values())]
        lines += [f"Minus {table.against}, on the same samples, mean over seeds, paired 95 % intervals:", ""]
        lines += [_row(["method", *(metric for metric, _ in shown)]), "|---|" + "---:|" * len(shown)]
        lines += [_row([label, *(_gap(row.get(c), digits) for c in shown)]) for label, row in table.differences.items()]
        lines.append("")
    return "\n".join(lines)


def to_latex(table: Comparison, *, digits: int) -> str:
    """A booktabs ``tabular``; what was measured, and how, is said in comments above it."""
    head = ["Method", "Seeds", *(_escape(metric) for metric, _ in table.columns)]
    lines = [
        f"% {_title(table)}; {', '.join(_protocols(table))}",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        "\\toprule",
        " & ".join(head) + " \\\\",
        "\\midrule",
    ]
    for label, cells in table.rows.items():
        lines.append(
            " & ".join([_escape(label), str(table.seeds.get(label, 0)), *_latex(table, cells, digits)]) + " \\\\"
        )
    if table.baselines:
        lines.append("\\midrule")
    for label, cells in table.baselines.items():
        lines.append(" & ".join([f"\\textit{{{_escape(label)}}}", "", *_latex(table, cells, digits)]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _title(table: Comparison) -> str:
    return f"{table.data}, {table.split} (n = {table.n}{f', data {table.sha256}' if table.sha256 else ''})"


def _protocols(table: Comparison) -> list[str]:
    return list(dict.fromkeys(protocol for _, protocol in table.columns))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(table: Comparison, cells: dict[Column, Cell], digits: int) -> list[str]:
    texts = []
    for column in table.columns:
        mean, spread = cells[column].text(digits) if column in cells else ("–", "")
        bold = f"**{mean}**" if column in cells and cells[column].best else mean
        texts.append(f"{bold} ± {spread}" if spread else bold)
    return texts


def _latex(table: Comparison, cells: dict[Column, Cell], digits: int) -> list[str]:
    texts = []
    for column in table.columns:
        mean, spread = cells[column].text(digits) if column in cells else ("--", "")
        bold = f"\\textbf{{{mean}}}" if column in cells and cells[column].best else mean
        texts.append(f"{bold} $\\pm$ {spread}" if spread else bold)
    return texts


def _gap(gap: Interval | None, digits: int) -> str:
    return "–" if gap is None else f"{gap.value:+.{digits}f} [{gap.low:.{digits}f}, {gap.high:.{digits}f}]"


def _escape(text: str) -> str:
    for sign in "\\&%$#_{}":
        text = text.replace(sign, "\\textbackslash " if sign == "\\" else f"\\{sign}")
    return text


@main("compare")
def _cli(cfg: DictConfig) -> None:
    from rsmoe.cli.terminal import printable
    from rsmoe.files import write_text
    from rsmoe.studies.comparison import compare
    from rsmoe.studies.run_results import find_results

    if not cfg.runs:
        raise UserError("no runs: python -m rsmoe.commands.compare runs/*")
    runs, metrics = ([given] if isinstance(given, str) else given for given in (cfg.runs, cfg.metrics))
    found = find_results([Path(p) for p in runs])
    base = find_results([Path(cfg.against)]) if cfg.against else []
    if len({run.key for run in base}) > 1:
        raise UserError(
            f"against={cfg.against} holds {len({run.key for run in base})} methods; give the folder of one run"
        )
    tables, notes = compare(
        sorted({run.path: run for run in [*found, *base]}.values(), key=lambda run: run.path.stat().st_mtime),
        metrics=metrics,
        against=base[0].key if base else None,
        draws=cfg.draws,
    )
    if not tables:
        raise UserError(f"no result matches metrics={list(metrics or [])}; leave it out to see their names")
    texts = {
        "markdown": "\n".join(to_markdown(t, digits=cfg.digits) for t in tables),
        "latex": "\n".join(to_latex(t, digits=cfg.digits) for t in tables),
    }
    for form in texts if cfg.format == "both" else [cfg.format]:
        print(printable(texts[form]))
    for note in notes:
        print(printable(f"left out {note}"), file=sys.stderr)
    if cfg.out is not None:
        folder = Path(cfg.out)
        write_text(folder / "compare.md", texts["markdown"])
        write_text(folder / "compare.tex", texts["latex"])


def cli(words: Sequence[str] | None = None) -> None:
    """Words that are folders become ``runs=[...]``; the others are overrides of ``conf/compare.yaml``."""
    given = list(sys.argv[1:] if words is None else words)
    folders = [w for w in given if not w.startswith("-") and ("=" not in w or Path(w).exists())]
    quoted = [f"'{f}'" if "'" not in f else f'"{f}"' for f in folders]
    _cli([*([f"runs=[{','.join(quoted)}]"] if folders else []), *(w for w in given if w not in folders)])


if __name__ == "__main__":
    cli()

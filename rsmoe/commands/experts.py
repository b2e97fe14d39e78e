"""``python -m rsmoe.commands.experts checkpoint=... benchmark=...``: what is each expert of a mixture worth?"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from rsmoe.metrics.bootstrap import Interval
    from rsmoe.studies.expert_tables import ExpertTable


def to_csv(tables: Sequence[ExpertTable]) -> str:
    """One line a number: table, row, column, value and its 95 % interval, empty where it has none."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("table", "row", "column", "value", "low", "high"))
    for table in tables:
        for (row, column), cell in table.cells.items():
            numbers = ["" if isnan(x) else f"{x:.6g}" for x in (cell.value, cell.low, cell.high)]
            lines.writerow((table.name, row, column, *numbers))
    return text.getvalue()


def to_terminal(table: ExpertTable) -> Table:
    """For people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table("", title=table.title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    for column in table.columns():
        shown.add_column(Text(column), justify="right")
    for row in table.rows():
        shown.add_row(Text(row), *(_cell(table.cells[row, column]) for column in table.columns()))
    return shown


def _cell(cell: Interval) -> str:
    if isnan(cell.value):
        return "–"
    return f"{cell.value:.2f}" if isnan(cell.low) else f"{cell.value:.1f} ({cell.low:.1f} to {cell.high:.1f})"


@main("experts")
def cli(cfg: DictConfig) -> None:
    """Prints five tables; writes experts.csv and experts.png into ``out``."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.evaluation.benchmark import Benchmark
    from rsmoe.evaluation.open_run import open_run
    from rsmoe.figures.experts_plot import plot_experts
    from rsmoe.files import write_text
    from rsmoe.metrics.added import added_metrics
    from rsmoe.studies.expert_answers import ExpertAnswers
    from rsmoe.studies.expert_tables import ExpertTables, Measure, similarity

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    nodes = config.get("benchmark") or {}
    if len(nodes) != 1:
        raise UserError(f"benchmark=[{','.join(nodes)}]: expected one; see conf/benchmark")
    run = open_run(Path(config["checkpoint"]), device=config["device"])
    ((name, node),) = nodes.items()
    benchmark = Benchmark.from_config(name, node, root=config["data"]["root"])
    samples = benchmark.choose(limit=config["limit"], ids=None)
    benchmark.require_heads(run.model, samples)
    measures = Measure.all_of(
        samples,
        scores=config["scores"],
        protocols=benchmark.protocols,
        metrics=added_metrics(config["evaluation"]["metrics"]),
    )
    answers = ExpertAnswers.of(
        run.model,
        run.codec,
        run.collate,
        samples,
        batch_size=config["batch_size"],
        beams=config["beams"],
        max_new=config["max_new"] or benchmark.max_new,
        title=name if sys.stdout.isatty() else "",
    )
    study = ExpertTables(answers, measures=measures, draws=config["draws"], seed=config["seed"])
    tables = [study.alone(), study.without(), study.regret(), study.load(run.model.names)]
    if (alike := similarity(run.model.bank, run.model.names)) is not None:
        tables.append(alike)
    out = Path(config["out"])
    write_text(out / "experts.csv", to_csv(tables))
    plot_experts(out / "experts.png", **{table.name: table.cells for table in tables if table.name != "regret"})
    console = open_console(140)
    for table in tables:
        console.print(to_terminal(table))
        console.print(f"{table.says}\n", markup=False, highlight=False)
    console.print(f"{name}, {len(samples)} samples; everything is in {out}", markup=False)


if __name__ == "__main__":
    cli()

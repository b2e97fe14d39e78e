"""``python -m rsmoe.score protocol=... predictions=... references=...``: numbers for anyone's predictions."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from rsmoe.evaluation.formats.layouts import References


def table(report: dict[str, Any]) -> Table:
    """One row per number, for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = f"{report['protocol']} on {report['split']}"
    found = Table(title=title, caption=report["sentence"], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    compared = any("difference" in row for row in report["results"])
    several = len({row["metric"].split("/")[0] for row in report["results"]}) > 1
    found.add_column("metric", overflow="fold")
    for name in ("value [95 %]", *(("difference [95 %]",) if compared else ()), "n", "unread"):
        found.add_column(Text(name), justify="right", no_wrap=True)
    for row in report["results"]:
        cells = [f"{row['value']:.2f}{_bounds(row, '')}"]
        if compared:
            cells.append(f"{row['difference']:+.2f}{_bounds(row, 'difference_')}" if "difference" in row else "")
        name = row["metric"] if several else row["metric"].split("/", 1)[1]
        found.add_row(Text(name), *map(Text, cells), str(row["n"]), str(row["parse_failures"]))
    return found


@main("score")
def cli(cfg: DictConfig) -> None:
    """Prints a table, or json on standard output."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.cli.terminal import printable
    from rsmoe.evaluation.score_files import from_release, score_files, scorer
    from rsmoe.metrics.added import added_metrics

    metrics = added_metrics(OmegaConf.to_container(cfg.evaluation.metrics))  # type: ignore[arg-type]
    tasks = scorer(str(cfg.protocol), metrics).protocol.tasks
    release = cfg.get("data")
    if (cfg.references is None) == (release is None):
        raise UserError("give the references once: references=file, or data=name of a release")
    prefix = ""
    if release is None:
        references: Path | References = Path(cfg.references)
    else:
        references, prefix = from_release(release, tasks=tasks, split=str(cfg.split))
    report = score_files(
        protocol=str(cfg.protocol),
        predictions=Path(cfg.predictions),
        references=references,
        compare=None if cfg.compare is None else Path(cfg.compare),
        split=str(cfg.split),
        vocabulary=None if cfg.vocabulary is None else Path(cfg.vocabulary),
        draws=cfg.draws,
        seed=cfg.seed,
        missing=cfg.missing,
        metrics=metrics,
        prefix=prefix,
    )
    for name, ids in report["missing"].items():
        some = ", ".join(ids[:5])
        print(
            printable(
                f"warning: {name}: {len(ids)} of {report['n']} references have no prediction ({some}) and count as "
                "answered with nothing, which is wrong; missing=error refuses them"
            ),
            file=sys.stderr,
        )
    if cfg.json:
        print(json.dumps(_finite(report), indent=2, allow_nan=False))
        return
    console = open_console()
    console.print(table(report))
    for name, digest in report["sha256"].items():
        console.print(f"sha256 of {name}: {digest}", style="dim", highlight=False, soft_wrap=True)


def _bounds(row: dict[str, Any], key: str) -> str:
    low, high = row.get(f"{key}low"), row.get(f"{key}high")
    return "" if low is None or high is None or math.isnan(low) else f" [{low:.2f}, {high:.2f}]"


def _finite(value: Any) -> Any:
    """json has no nan: a bound that no draw defines is null."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    cli()

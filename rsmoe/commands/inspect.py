"""``python -m rsmoe.commands.inspect data=<name> data.root=... split=train``: check of a release, as a reader reads it.

Prints what was read beside what the release states, everything that could not be used and why, the tasks and the first
rows; draws a contact sheet with boxes, masks and class maps. Works for whatever `rsmoe.data` calls a data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console
    from torch.utils.data import Dataset

    from rsmoe.data.sample import Sample

SCANNED = 2000
"""Most rows that are looked at for the table of tasks: generated scenes are rendered when they are read."""


def scan(data: Dataset[Sample], most: int = SCANNED) -> dict[int, Sample]:
    """Up to ``most`` rows by their number, evenly spread."""
    from rsmoe.data.sampling.spread import spread

    return {i: data[i] for i in spread(len(data), most)}  # type: ignore[arg-type]


def varied(samples: Sequence[Sample], count: int) -> list[Sample]:
    """``count`` samples: the first of every task and kind in turn, then the second of each ..., in their order."""
    seen: Counter[tuple[str, str]] = Counter()
    turns = []
    for place, sample in enumerate(samples):
        seen[sample.task, sample.kind] += 1
        turns.append((seen[sample.task, sample.kind], place))
    return [samples[place] for place in sorted(place for _, place in sorted(turns)[:count])]


def inspect(data: Any, *, rows: int, sheet: int, out: Path, console: Console) -> list[str]:
    """Prints the tables of a data set and writes its contact sheet.

    Args:
        data: of any reader, with a sample at least.
        rows: samples printed.
        sheet: samples drawn; 0 writes none.
        out: the sheet.
        console: where it is printed.

    Returns:
        What could not be drawn, and why.
    """
    from rsmoe.figures.inspect_sheet import plot_inspection
    from rsmoe.figures.inspect_tables import counts_table, rows_table, tasks_table, unused_table

    samples = scan(data)
    if data.protocol:
        console.print(f"{data.name}: {data.protocol.rstrip('/')}, not real data", style="bold red")
    counts = {"samples": len(data)} | dict(getattr(data, "counts", {}))
    console.print(counts_table(counts, getattr(data, "official", {}).get(data.split, {}), f"{data.name} {data.split}"))
    if unused := {reason: ids for reason, ids in getattr(data, "unused", {}).items() if ids}:
        console.print(unused_table(unused))
    console.print(tasks_table(list(samples.values()), len(data)))
    if rows:
        console.print(rows_table([data[i] for i in range(min(rows, len(data)))]))
    faults: list[str] = []
    if drawn := varied(list(samples.values()), sheet):
        faults = plot_inspection(out, drawn)
        for fault in faults:
            console.print(f"not drawn: {fault}", style="red")
        console.print(f"{len(drawn) - len(faults)} samples drawn: {out}")
    return faults


@main("inspect")
def cli(cfg: DictConfig) -> None:
    """Prints the tables and writes the contact sheet to ``out``."""
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.parts import instantiate

    data: Any = instantiate(cfg.data, split=cfg.split)
    if not len(data):
        raise UserError(f"{data.name} has no sample in split {data.split!r}")
    inspect(data, rows=cfg.rows, sheet=cfg.sheet, out=Path(cfg.out), console=open_console(120))


if __name__ == "__main__":
    cli()

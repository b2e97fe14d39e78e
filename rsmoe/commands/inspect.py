"""``python -m rsmoe.commands.inspect data=<name> data.root=... split=train``: check of a release, as a reader reads it.

Prints what was read beside what the release states, everything that could not be used and why, the tasks and the first
rows; draws a contact sheet with boxes, masks and class maps. Works for whatever `rsmoe.data` calls a data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rsmoe.cli import main
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch.utils.data import Dataset

SCANNED = 2000
"""Most rows that are looked at for the table of tasks: generated scenes are rendered when they are read."""


def scan(data: Dataset[Sample], most: int = SCANNED) -> dict[int, Sample]:
    """Up to ``most`` rows by their number, evenly spread."""
    return {i: data[i] for i in spread(len(data), most)}  # type: ignore[arg-type]


def varied(samples: Sequence[Sample], count: int) -> list[Sample]:
    """``count`` samples: the first of every task and kind in turn, then the second of each ..., in their order."""
    seen: Counter[tuple[str, str]] = Counter()
    turns = []
    for place, sample in enumerate(samples):
        seen[sample.task, sample.kind] += 1
        turns.append((seen[sample.task, sample.kind], place))
    return [samples[place] for place in sorted(place for _, place in sorted(turns)[:count])]


def counts_table(counts: Mapping[str, int], official: Mapping[str, int], title: str) -> Table:
    """Table of counts: as read, and as the release states; red where they differ."""
    table = Table("what", title=title, header_style="bold")
    for heading in ("read", "official"):
        table.add_column(heading, justify="right")
    for name in dict.fromkeys([*counts, *official]):
        read, stated = counts.get(name), official.get(name)
        style = ""
        if None not in (read, stated):
            style = "green" if read == stated else "bold red"
        table.add_row(Text(name), Text(_number(read), style=style), _number(stated))
    return table


def unused_table(unused: Mapping[str, Sequence[str]]) -> Table:
    """Table of samples that the reader left out: reason, number and the first five."""
    from rsmoe.figures.figure import shorten

    table = Table("not used because", "number", "first", title="Not used", header_style="bold")
    for reason, rows in unused.items():
        shown = ", ".join(map(str, rows[:5])) + (" ..." if len(rows) > 5 else "")
        table.add_row(Text(reason), f"{len(rows):,}", Text(shorten(shown, 200)))
    return table


def tasks_table(samples: Sequence[Sample], total: int) -> Table:
    """Samples, references and regions of each task and kind."""
    title = "Tasks" if len(samples) == total else f"Tasks, in {len(samples):,} of {total:,} rows"
    table = Table("task", "kind", title=title, header_style="bold")
    columns = ("samples", "references", "dates", "boxes", "oriented", "masks", "class maps", "directional")
    for heading in columns:
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.task, sample.kind), []).append(sample)
    for (task, kind), group in sorted(groups.items()):
        dates = sorted({len(s.images) for s in group})
        numbers = (
            len(group),
            sum(len(s.responses) for s in group),
            sum(len(s.boxes_px) for s in group if s.boxes_px is not None),
            sum(len(s.obb_px) for s in group if s.obb_px is not None),
            sum(s.mask is not None for s in group),
            sum(s.class_map is not None for s in group),
            sum(s.directional for s in group),
        )
        cells = [f"{n:,}" if n else "" for n in numbers]
        cells.insert(2, "-".join(map(str, dates if len(dates) == 1 else (dates[0], dates[-1]))))
        table.add_row(task, Text(kind), *cells)
    return table


def rows_table(samples: Sequence[Sample]) -> Table:
    """The rows as they are, long ones cut."""
    from rsmoe.figures.figure import shorten

    table = Table(
        "id", "task", "instruction", "response", "meta", title="First rows", header_style="bold", show_lines=True
    )
    for sample in samples:
        named = dict.fromkeys(i.name if isinstance(i, Path) else _array_name(i) for i in sample.images)
        pictures = "" if list(named) == [sample.id] else "\n" + ", ".join(named)
        more = f" (+{len(sample.responses) - 1} more)" if len(sample.responses) > 1 else ""
        earlier = f"[{len(sample.history)} earlier turns] " if sample.history else ""
        meta = ", ".join(f"{key} {value}" for key, value in sample.meta.items())
        table.add_row(
            Text(shorten(sample.id, 80) + pictures),
            Text(f"{sample.task} {sample.kind}".strip()),
            Text(shorten(earlier + sample.instruction, 200)),
            Text(shorten(sample.responses[0], 200) + more),
            Text(shorten(meta, 120)),
        )
    return table


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


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _array_name(image: Any) -> str:
    return f"array {'x'.join(map(str, image.shape))}" if isinstance(image, np.ndarray) else type(image).__name__


if __name__ == "__main__":
    cli()

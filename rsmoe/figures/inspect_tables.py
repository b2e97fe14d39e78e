"""What a data set holds, as tables: counts, what was left out and why, tasks, the first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from rsmoe.data.sample import Sample
from rsmoe.figures.figure import shorten


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


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _array_name(image: Any) -> str:
    return f"array {'x'.join(map(str, image.shape))}" if isinstance(image, np.ndarray) else type(image).__name__

"""Methods against each other: one table for each data set, mean and standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from rsmoe.metrics.bootstrap import Interval
from rsmoe.studies.method_names import method_names
from rsmoe.studies.paired import Texts, paired_differences, texts_of
from rsmoe.studies.run_results import RunResults

Column = tuple[str, str]
"""(metric, protocol): a number under another protocol is another number."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of one method."""

    values: tuple[float, ...]
    """One a seed."""
    best: bool = False

    def text(self, digits: int) -> tuple[str, str]:
        """Mean and standard deviation as they are printed; the latter "" for one seed."""
        mean = f"{statistics.fmean(self.values):.{digits}f}"
        return mean, f"{statistics.stdev(self.values):.{digits}f}" if len(self.values) > 1 else ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that was measured on the same samples of one data set."""

    data: str
    split: str
    sha256: str
    """Fingerprint of the samples; numbers on others stand in another table."""
    n: int
    """The most samples behind a number."""
    columns: tuple[Column, ...]
    """In the order of the results."""
    rows: dict[str, dict[Column, Cell]]
    """Method -> its cells."""
    seeds: dict[str, int]
    """Method -> the most seeds behind a cell."""
    baselines: dict[str, dict[Column, Cell]]
    """Trivial baseline -> its cells; never marked as the best."""
    against: str = ""
    """The method that the others are held against."""
    differences: dict[str, dict[Column, Interval]] = field(default_factory=dict)
    """Method -> its numbers minus those of ``against`` on the same samples, see `paired_differences`."""


def compare(
    runs: Sequence[RunResults],
    *,
    metrics: Sequence[str] | None = None,
    against: tuple[str, str, str] | None = None,
    draws: int = 1000,
) -> tuple[list[Comparison], list[str]]:
    """Tables, and notes on what was left out of them.

    Runs of one name, config and checkpoint are one method; of two with the same seed the newer one counts, for it is no
    second seed. Samples, protocol and split are never mixed: other samples make another table, another protocol makes
    another column.

    Args:
        runs: oldest first.
        metrics: patterns of metrics to show (``caption/*``, ``vqa/overall``); None shows all but the router's.
        against: key of the method that the others are held against, sample by sample.
        draws: of the bootstrap of these differences.
    """
    notes: list[str] = []
    newest: dict[tuple[Any, ...], tuple[RunResults, list[dict[str, Any]]]] = {}
    for run in runs:
        for key, rows in _tables(run.results).items():
            place = (key, run.key, run.seed)
            if place in newest:
                notes.append(f"{newest[place][0].path}: {run.path} is newer, of the same config and seed")
            newest[place] = (run, rows)
    labels = method_names([run for run, _ in newest.values()], first=against)
    tables = []
    for key in dict.fromkeys(place[0] for place in newest):
        cells: dict[str, dict[Column, list[float]]] = {}
        lower: set[Column] = set()
        beside: dict[str, dict[str, dict[Column, list[float]]]] = {}
        for run, rows in (entry for place, entry in newest.items() if place[0] == key):
            label = labels[run.key]
            _add(cells.setdefault(label, {}), rows, metrics)
            lower |= {(row["metric"], row["protocol"]) for row in rows if row.get("lower_is_better")}
            for name, theirs in run.baselines.items():
                known = [r for r in theirs if (r["data"], r["split"], r.get("data_sha256", "")) == key[:3]]
                _add(beside.setdefault(name, {}).setdefault(label, {}), known, metrics)
        columns = tuple(dict.fromkeys(column for row in cells.values() for column in row))
        if columns:
            data, split, sha256, n = key
            methods: dict[str, dict[int, Texts]] = {}
            for run, _ in (entry for place, entry in newest.items() if place[0] == key):
                methods.setdefault(labels[run.key], {})[run.seed] = texts_of(run, data) if against else {}
            base = labels.get(against, "") if against else ""
            gaps = {
                label: paired_differences(own, methods[base], columns=columns, draws=draws)
                for label, own in sorted(methods.items())
                if base in methods and label != base
            }
            tables.append(
                Comparison(
                    data=data,
                    split=split,
                    sha256=sha256,
                    n=n,
                    columns=columns,
                    rows=_marked(cells, columns, lower),
                    seeds={label: max(map(len, row.values())) for label, row in cells.items() if row},
                    baselines=_beside(beside),
                    against=base,
                    differences={label: row for label, row in gaps.items() if row},
                )
            )
    return tables, notes


def _tables(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str, int], list[dict[str, Any]]]:
    """Rows by (data, split, fingerprint, most samples behind a number of them)."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["data"], row["split"], row.get("data_sha256", "")), []).append(row)
    return {(*key, max(int(r["n"]) for r in own)): own for key, own in found.items()}


def _add(cells: dict[Column, list[float]], rows: Iterable[dict[str, Any]], metrics: Sequence[str] | None) -> None:
    for row in rows:
        metric = row["metric"]
        chosen = not metric.startswith("routing/") if metrics is None else any(fnmatchcase(metric, m) for m in metrics)
        if chosen:
            cells.setdefault((metric, row["protocol"]), []).append(row["value"])


def _beside(baselines: dict[str, dict[str, dict[Column, list[float]]]]) -> dict[str, dict[Column, Cell]]:
    """One row for a baseline that is the same beside every run; else one a method: it knows the method's features."""
    rows: dict[str, dict[Column, Cell]] = {}
    for name, methods in baselines.items():
        single: dict[Column, set[float]] = {}
        for row in methods.values():
            for column, values in row.items():
                single.setdefault(column, set()).update(values)
        if all(len(values) == 1 for values in single.values()):
            rows[name] = {column: Cell(values=tuple(values)) for column, values in single.items()}
        else:
            for label, row in sorted(methods.items()):
                rows[f"{name} ({label})"] = {column: Cell(values=tuple(values)) for column, values in row.items()}
    return {name: row for name, row in rows.items() if row}


def _marked(
    cells: dict[str, dict[Column, list[float]]], columns: Sequence[Column], lower: set[Column]
) -> dict[str, dict[Column, Cell]]:
    """The cells, with the best mean of each column marked where there is something to compare; equal ones are all.

    Args:
        lower: columns where less is better.
    """
    best: dict[Column, float] = {}
    for column in columns:
        means = [statistics.fmean(row[column]) for row in cells.values() if column in row]
        if len(means) > 1 and not column[0].startswith("routing/"):
            best[column] = min(means) if column in lower else max(means)
    return {
        label: {
            column: Cell(values=tuple(values), best=statistics.fmean(values) == best.get(column))
            for column, values in row.items()
        }
        for label, row in sorted(cells.items())
    }

"""What an evaluation leaves behind: metrics.json, predictions.jsonl, and report.md with its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rsmoe.data.sample import Sample
from rsmoe.evaluation.benchmark import Benchmark
from rsmoe.evaluation.evaluate_splits import Outcome
from rsmoe.evaluation.report import prediction_rows, result_rows
from rsmoe.evaluation.table import results_table
from rsmoe.evaluation.worst_best import Extremes, draw, measure_of, worst_and_best
from rsmoe.figures.figure import shorten
from rsmoe.files import write_text
from rsmoe.metrics.lookup import find_metric
from rsmoe.metrics.result import Result
from rsmoe.router.oracle import TOLD

NAMED = 6
"""Samples among the worst, and among the best, of each task that a report without pictures names."""


def write_benchmark(
    folder: Path,
    benchmark: Benchmark,
    outcome: Outcome,
    beside: Mapping[str, Sequence[Result]],
    *,
    run: Mapping[str, Any],
    asked: Mapping[str, Any],
    pictures: int,
    console: Console,
) -> None:
    """Writes the report of one benchmark, each file whole or not at all, and prints its table.

    Args:
        folder: of the report; that of a part of the samples is ``<folder>/partial``.
        beside: name of a trivial baseline -> its results on the same samples.
        run: see `rsmoe.evaluation.run_facts.run_facts`, plain json.
        asked: how it was asked, beside what the benchmark itself says; plain json.
        pictures: samples on each contact sheet; 0 draws none, and the report names `NAMED` samples.
    """
    count, total = len(outcome.samples), len(benchmark.data)  # type: ignore[arg-type]
    folder = folder / "partial" if count < total else folder
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "name": benchmark.name, "data": benchmark.data_name, "split": str(getattr(benchmark.data, "split", "")),
        "n": count, "of": total, "data_sha256": outcome.sha256,
    }  # fmt: skip
    facts = {"run": dict(run), "benchmark": about | dict(asked)}
    rows = facts | {
        "results": result_rows(outcome, outcome.results, run),
        "baselines": {name: result_rows(outcome, results, run) for name, results in beside.items()},
    }
    write_text(folder / "predictions.jsonl", "".join(prediction_rows(outcome)))
    pairs = list(zip(outcome.samples, outcome.predictions, strict=True))
    extremes = worst_and_best(pairs, count=pictures or NAMED)
    drawn = [draw(folder, one).name if pictures else None for one in extremes]
    write_text(folder / "report.md", _report(outcome, beside, facts, list(zip(extremes, drawn, strict=True))))
    write_text(folder / "metrics.json", json.dumps(rows, indent=1) + "\n")  # last: where it is, the rest is too
    console.print(results_table(outcome.results, beside, title=f"{run['name']}: {benchmark.name}"))
    if run["router"]["told_the_task"]:
        console.print(TOLD, style="bold red")
    console.print(f"everything is in {folder}", markup=False)


def _report(
    outcome: Outcome,
    beside: Mapping[str, Sequence[Result]],
    facts: Mapping[str, Any],
    extremes: Sequence[tuple[Extremes, str | None]],
) -> str:
    run, asked = facts["run"], facts["benchmark"]
    part = f" of {asked['of']}" if asked["n"] < asked["of"] else ""
    decoding = asked.get("decoding") or f"beams {asked['beams']}, at most {asked['max_new']} tokens"
    lines = [
        f"# {run['name']} on {outcome.data}",
        "",
        f"{asked['n']}{part} samples of {asked['data']}, split {asked['split']}; checkpoint `{run['checkpoint']}`, "
        f"seed {run['seed']}; {decoding}. "
        f"Fingerprints: data {outcome.sha256[:16]}, config {run['config_sha256']}, "
        f"checkpoint {run['checkpoint_sha256'][:16]}.",
        "",
        *([f"**{TOLD}**", ""] if run["router"]["told_the_task"] else []),
        f"Requests, for example: {_quoted(outcome.samples)}",
        "",
        *_table(outcome.results, beside),
        "",
        asked["baselines"],
        "",
        *(f"- `{name}`: {_sentence(name, outcome)}" for name in dict.fromkeys(r.protocol for r in outcome.results)),
        "",
    ]
    for one, picture in extremes:
        named = ", ".join(f"`{s.id}` {value:.2f}" for (s, _), value in zip(one.pairs, one.values, strict=True))
        lines += [f"## The {one.name}: {one.task.replace('_', ' ')}", "", f"By {measure_of(one.task)}: {named}.", ""]
        lines += [] if picture is None else [f"![]({picture})", ""]
    return "\n".join(lines)


def _quoted(samples: Sequence[Sample]) -> str:
    """The first request of each task."""
    firsts = {s.task: s.instruction for s in reversed(samples)}
    return "; ".join(f"{task}: “{shorten(text, 160)}”" for task, text in sorted(firsts.items()))


def _table(results: Sequence[Result], beside: Mapping[str, Sequence[Result]]) -> list[str]:
    columns = [{r.metric: r.value for r in column} for column in beside.values()]
    lines = [
        "| " + " | ".join(["metric", "value [95 %]", *beside, "n", "unread"]) + " |",
        "|---|" + "---:|" * (len(beside) + 3),
    ]
    for r in results:
        others = [f"{c[r.metric]:.2f}" if r.metric in c else "–" for c in columns]
        lines.append("| " + " | ".join([r.metric, _value(r), *others, str(r.n), str(r.parse_failures)]) + " |")
    return lines


def _value(result: Result) -> str:
    """With its 95 % interval, where it has one."""
    bounds = "" if result.low is None or result.high is None else f" [{result.low:.2f}, {result.high:.2f}]"
    return f"{result.value:.2f}{bounds}"


def _sentence(name: str, outcome: Outcome) -> str:
    """What the protocol does and where it comes from."""
    known = find_metric(name, others=outcome.metrics.values()).protocol
    return f"{known.sentence} Source: {known.source}."

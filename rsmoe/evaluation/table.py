"""Results beside their baselines, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from rsmoe.metrics.result import Result

_NEUTRAL = "routing"


def results_table(results: Sequence[Result], baselines: Mapping[str, Sequence[Result]], *, title: str = "") -> Table:
    """One row per result: metric, value, each baseline, samples, unread answers; protocols and splits below.

    A value is green where it is better than every baseline that has this metric, and red where it is not.

    Args:
        baselines: name of the column -> its results; matched by metric and split.
    """
    protocols = ", ".join(dict.fromkeys(f"{r.protocol} on {r.split}" for r in results))
    table = Table(title=title or None, caption=protocols or None, header_style="bold")
    table.add_column("metric", no_wrap=True)
    for name in ("value", *baselines, "n", "unread"):
        table.add_column(name, justify="right")
    columns = [{(r.metric, r.split): r.value for r in column} for column in baselines.values()]
    for result in results:
        others = [column.get((result.metric, result.split)) for column in columns]
        table.add_row(
            result.metric,
            _coloured(result, [o for o in others if o is not None]),
            *("–" if other is None else f"{other:.2f}" for other in others),
            str(result.n),
            str(result.parse_failures),
        )
    return table


def _coloured(result: Result, others: Sequence[float]) -> Text:
    text = Text(f"{result.value:.2f}")
    if not others or result.metric.split("/")[0] == _NEUTRAL:
        return text
    better = all(result.value < o if result.lower_is_better else result.value > o for o in others)
    text.stylize("bold green" if better else "red")
    return text

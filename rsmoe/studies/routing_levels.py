"""Levels of routing and their controls, trained from one dense model and compared with one adapter of as many ranks.

``python -m rsmoe.studies.routing_levels --start runs/real_moe/... --out runs/levels`` trains every row of `ROWS` with
every seed, `rsmoe.train experiment=real_moe`, where its folder holds no numbers yet, and prints a table: each task's
number, mean of the seeds, and its difference to `TWIN` with a paired 95 % interval. A sample is drawn with all of its
seeds, so that the interval is one over samples for these seeds. Ends early with an error of `rsmoe.train`; typed again,
it goes on where it was. Words behind ``--`` are added to every row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from rsmoe.data.files.json_text import read_json
from rsmoe.data.sample import Sample
from rsmoe.evaluation.prediction_lines import from_row
from rsmoe.metrics.bootstrap import Interval, differences
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import match
from rsmoe.metrics.tally import Tally
from rsmoe.studies.expert_tables import Measure

ROWS: Mapping[str, tuple[str, ...]] = {
    "one adapter, r": ("moe=none",),
    "one adapter, 4 r": ("moe=none", "bank.rank=32", "bank.alpha=64"),
    "samples": (),
    "tokens": ("moe=token",),
    "samples, then tokens": ("bank=token",),
    "samples, shared expert": ("bank.shared=true", "bank.rank=6", "bank.alpha=12"),
    "oracle": ("router=oracle",),
    "uniform": ("router=uniform",),
    "hash": ("router=hash",),
    "frozen": ("router=frozen",),
}
"""Row -> its words; r is 8, and every row but the first has about 4 r ranks in all."""
TWIN = "one adapter, 4 r"
"""What the others are compared with: equal parameters."""
SCORES = {"caption": "cider_d", "vqa": "overall"}
"""Task -> the number that is its score."""


def train(row: str, *, seed: int, start: str, folder: Path, words: Sequence[str]) -> None:
    """One cell, unless it is there; Lightning's processes end with it."""
    if (folder / "metrics.json").is_file():
        return
    own = [f"start={start}", "stage.dense.steps=0", f"seed={seed}", f"hydra.run.dir={folder}", *ROWS[row], *words]
    subprocess.run([sys.executable, "-m", "rsmoe.train", "experiment=real_moe", "trainer=cpu", *own], check=True)


def tallies(folder: Path) -> dict[tuple[str, str], tuple[Measure, Tally]]:
    """(data set, number) -> its tally of the predictions of a run."""
    groups: dict[str, list[tuple[Sample, Prediction]]] = {}
    for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        sample = Sample(
            id=row["id"],
            images=(Path(row["id"]),),  # no picture is read
            instruction=row["instruction"],
            responses=tuple(row["references"]),
            task=row["task"],
            source=row["data"],
            kind=row["kind"],
        )
        groups.setdefault(row["data"], []).append((sample, from_row(row)))
    found = {}
    for data, pairs in groups.items():
        samples, predictions = [s for s, _ in pairs], [p for _, p in pairs]
        for measure in Measure.all_of(samples, scores=SCORES).values():
            tally = measure.metric.tally(match(samples, predictions))
            assert tally is not None
            found[data, measure.number] = measure, tally
    return found


def over_seeds(own: Sequence[Tally]) -> Tally:
    """The mean of each number over seeds, of the same samples in the same order."""
    width = own[0].rows.shape[1]

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        each = [tally.finish(sums[..., i * width : (i + 1) * width]) for i, tally in enumerate(own)]
        return {name: np.mean([numbers[name] for numbers in each], axis=0) for name in each[0]}

    return Tally(rows=np.concatenate([tally.rows for tally in own], axis=1), finish=finish)


def compared(folders: Mapping[str, Sequence[Path]]) -> dict[str, dict[tuple[str, str], tuple[float, Interval]]]:
    """Row -> (data set, number) -> mean over its seeds, and its difference to `TWIN`.

    Args:
        folders: row -> a run a seed, in one order of seeds.
    """
    read = {row: [tallies(folder) for folder in own] for row, own in folders.items()}
    table: dict[str, dict[tuple[str, str], tuple[float, Interval]]] = {}
    for row, seeds in read.items():
        for key, (measure, _) in seeds[0].items():
            mine, theirs = (over_seeds([one[key][1] for one in own]) for own in (seeds, read[TWIN]))
            gap = measure.scaled(differences(mine, theirs, draws=2000))
            value = measure.metric.scale(measure.number) * mine.values()[measure.number]
            table.setdefault(row, {})[key] = value, gap
    return table


def to_markdown(
    table: Mapping[str, Mapping[tuple[str, str], tuple[float, Interval]]], minutes: Mapping[str, float]
) -> str:
    """Bold where the interval of the difference excludes 0."""
    columns = list(next(iter(table.values())))
    lines = ["| | " + " | ".join(f"{data} {number}" for data, number in columns) + " | processor minutes |"]
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for row, cells in table.items():
        said = []
        for value, gap in (cells[column] for column in columns):
            told = f"{gap.value:+.1f} ({gap.low:.1f} to {gap.high:.1f})"
            sure = gap.low > 0 or gap.high < 0
            said.append(f"{value:.1f}" if row == TWIN else f"{value:.1f}, {f'**{told}**' if sure else told}")
        lines.append(f"| {row} | {' | '.join(said)} | {minutes[row]:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, help="run folder or checkpoint of the dense model")
    parser.add_argument("--out", type=Path, default=Path("runs/levels"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("words", nargs="*", help="of rsmoe.train, for every row")
    asked = parser.parse_args()
    rows = [row for row in ROWS if row in {*asked.rows, TWIN}]
    folders = {
        row: [asked.out / row.replace(", ", "-").replace(" ", "_") / str(s) for s in asked.seeds] for row in rows
    }
    for place, seed in enumerate(asked.seeds):
        for row in rows:
            train(row, seed=seed, start=asked.start, folder=folders[row][place], words=asked.words)
    runs = {row: [read_json(folder / "metrics.json")["run"] for folder in own] for row, own in folders.items()}
    minutes = {row: float(np.mean([run["cpu_minutes"] for run in own])) for row, own in runs.items()}
    Console(width=200).print(to_markdown(compared(folders), minutes), markup=False, highlight=False)


if __name__ == "__main__":
    main()

"""Levels of routing and their controls, trained from one dense model and compared with one adapter of as many ranks.

``python -m rsmoe.studies.routing_levels --start runs/real_moe/... --out runs/levels`` trains every row of `ROWS` with
every seed, `rsmoe.train experiment=real_moe`, where its folder holds no numbers yet, and prints
`rsmoe.commands.compare` of them: each task's number, and its difference to `TWIN` with a paired 95 % interval. Ends
early with an error of `rsmoe.train`; typed again, it goes on where it was. Words behind ``--`` are added to every row.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

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
METRICS = ("caption/cider_d", "vqa/overall")
"""Of the table."""


def named(row: str) -> str:
    """What runs and folders of a row are called."""
    return row.replace(", ", "-").replace(" ", "_")


def train(row: str, *, seed: int, start: str, folder: Path, words: Sequence[str]) -> None:
    """One cell, unless it is there; Lightning's processes end with it."""
    if (folder / "metrics.json").is_file():
        return
    own = [f"name={named(row)}", f"start={start}", "stage.dense.steps=0", f"seed={seed}", f"hydra.run.dir={folder}"]
    own += [*ROWS[row], *words]
    subprocess.run([sys.executable, "-m", "rsmoe.train", "experiment=real_moe", "trainer=cpu", *own], check=True)


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
    folders = {row: [asked.out / named(row) / str(seed) for seed in asked.seeds] for row in rows}
    for place, seed in enumerate(asked.seeds):
        for row in rows:
            train(row, seed=seed, start=asked.start, folder=folders[row][place], words=asked.words)
    runs = [str(folder) for own in folders.values() for folder in own]
    words = [*runs, f"against={folders[TWIN][0]}", f"metrics=[{','.join(METRICS)}]", "format=markdown"]
    subprocess.run([sys.executable, "-m", "rsmoe.commands.compare", *words], check=True)


if __name__ == "__main__":
    main()

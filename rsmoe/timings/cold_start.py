"""Seconds from a command to its answer, in a fresh process: ``python -m rsmoe.timings.cold_start [picture]``.

- torch: ``import torch``, which nothing below can do without;
- python: `rsmoe.load` of the starter and a first question;
- predict: the same question as a command, with its answer in files;
- help: ``rsmoe train --help``.

Each is run once before, so that Python has written its bytecode (with PYTHONDONTWRITEBYTECODE it cannot, and all take
twice as long); then they take turns. Printed are medians of processor seconds, user and system, and of wall seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from PIL import Image
from rich.console import Console
from rich.table import Table

ASKED = "How many ships are there?"


def spent(words: list[str], folder: str) -> tuple[float, float]:
    """Processor and wall seconds of a Python process."""
    wall, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    after = os.times()
    own = after.children_user - before.children_user + after.children_system - before.children_system
    return own, time.perf_counter() - wall


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", help="a grey square by default")
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(given.picture or Path(folder) / "grey.png").absolute()
        if given.picture is None:
            Image.new("RGB", (256, 256), (128, 128, 128)).save(picture)
        asked = f"import rsmoe; rsmoe.load('starter').ask({str(picture)!r}, {ASKED!r})"
        ways = {
            "torch": ["-c", "import torch"],
            "python": ["-c", asked],
            "predict": ["-m", "rsmoe.predict", f"image={picture}", f"instruction={ASKED}", "out=found"],
            "help": ["-m", "rsmoe", "train", "--help"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(given.repetitions + 1):
            for name, words in ways.items():
                found[name].append(spent(words, folder))
    table = Table("", "processor s", "wall s")
    for name, times in found.items():
        table.add_row(name, *(f"{median(column):.2f}" for column in zip(*times[1:], strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()

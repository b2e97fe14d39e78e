"""A store of a million tiles: how long it takes to write, to open and to search. ``python -m rsmoe.timings.search``.

Vectors are random, and so are places (all over the earth) and days (of ten years): a search takes as long whatever the
pictures show. Printed are wall and processor seconds, the median of ten queries, and the greatest memory of a process
of its own that opens the store and searches, beside that of one that only imports what it needs (Linux).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from rsmoe.archive.tile import Source, Tile
from rsmoe.archive.tile_store import TileStore
from rsmoe.archive.where import Where

_BATCH = 1000
_TILES_OF_A_SOURCE = 100
_QUERIES = 10
_ALONE = """
import sys
import numpy as np
from pathlib import Path
from rsmoe.archive.tile_store import TileStore
if len(sys.argv) > 1:
    store = TileStore.open(Path(sys.argv[1]))
    store.search(np.ones(store.facts["dim"]), limit=20)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def write(folder: Path, *, tiles: int, dim: int) -> TileStore:
    """A store of random vectors, batch by batch as `rsmoe.archive.index_pictures` writes them."""
    rng = np.random.default_rng(0)
    store = TileStore.create(folder, {"checkpoint": "random", "model": "random", "dim": dim})
    for first in range(0, tiles, _BATCH):
        batch = []
        for number in range(first, min(first + _BATCH, tiles)):
            picture = number // _TILES_OF_A_SOURCE
            day = f"20{10 + picture % 10}-{1 + picture % 12:02}-{1 + picture % 28:02}"
            west, south = rng.uniform(-180, 179.9), rng.uniform(-90, 89.9)
            batch.append(
                Tile(
                    source=Source(path=f"/archive/{picture:08}.tif", stamp="1", day=day),
                    window=(256 * (number % _TILES_OF_A_SOURCE), 0, 256, 256),
                    box=(west, south, west + 0.02, south + 0.02),
                    gsd_m=10.0,
                )
            )
        vectors = rng.normal(size=(len(batch), dim)).astype(np.float32)
        store.add(batch, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return store


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256, help="width of the vectors; the starter's is 256")
    given = parser.parse_args()
    table = Table("what", header_style="bold")
    for heading in ("wall s", "processor s"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "store")
        written = clocked(lambda: write(folder, tiles=given.tiles, dim=given.dim))
        table.add_row(f"write {given.tiles:,} tiles, {_BATCH} at once", *_seconds(written))
        store = TileStore.open(folder)
        queries = np.random.default_rng(1).normal(size=(_QUERIES, given.dim)).astype(np.float32)
        kinds = {
            "search all of them": None,
            "search in a box of 10 x 10 degrees": Where(bbox=(5, 45, 15, 55)),
            "search in one year": Where(dates=("2014", "2014")),
        }
        for name, where in kinds.items():
            times = [clocked(lambda q=q, w=where: store.search(q, limit=20, where=w)) for q in queries]  # type: ignore[misc]
            table.add_row(name, *_seconds((median(t[0] for t in times), median(t[1] for t in times))))
        Console().print(table)
        with_store, without = (
            subprocess.run([sys.executable, "-c", _ALONE, *words], capture_output=True, text=True, check=True).stdout
            for words in ([str(folder)], [])
        )
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(
            f"{size / 1e6:.0f} MB on disk; at most {int(with_store) >> 10} MB of memory, "
            f"{int(without) >> 10} MB without a store"
        )


def _seconds(pair: tuple[float, float]) -> tuple[str, str]:
    return f"{pair[0]:.2f}", f"{pair[1]:.2f}"


if __name__ == "__main__":
    main()

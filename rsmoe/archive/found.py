"""What a search found, as a table, a contact sheet and GeoJSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from rsmoe.archive.listing import picture_at
from rsmoe.archive.source_tiles import SourceTiles
from rsmoe.archive.tile import Hit
from rsmoe.errors import UserError
from rsmoe.figures.search_sheet import FoundPicture, plot_found
from rsmoe.geo.geojson import write_feature_collection


def table_of(hits: Sequence[Hit]) -> Table:
    """One row a hit, with pictures by their path below the folder that all of them lie in; 1 at least."""
    place = os.path.commonpath([os.path.dirname(hit.tile.source.path) for hit in hits])
    table = Table(title=Text(f"in {place}"), title_justify="left", header_style="bold")
    for heading in ("", "cosine", "picture", "window", "date", "gsd", "longitude, latitude"):
        table.add_column(heading, no_wrap=heading != "picture", overflow="fold")
    for rank, hit in enumerate(hits, start=1):
        tile = hit.tile
        table.add_row(
            str(rank),
            f"{hit.score:.3f}",
            Text(os.path.relpath(tile.source.path, place)),
            ",".join(map(str, tile.window)),
            tile.source.day or "",
            "" if tile.gsd_m is None else f"{tile.gsd_m:.3g} m",
            _centre(hit),
        )
    return table


def write_found(
    folder: Path, hits: Sequence[Hit], *, heading: str, raster: Mapping[str, Any], asset: str | None, bands: int
) -> list[str]:
    """Writes ``hits.geojson`` (RFC 7946; a tile without a place is an unlocated feature) and ``hits.png``.

    Args:
        hits: 1 at least.
        heading: what was searched for.
        raster, asset: options of `rsmoe.geo.RasterSource`, and the asset of STAC items, that the store was made with.
        bands: of the tiles.

    Returns:
        names of the files.

    Raises:
        UserError: the folder cannot be written.
    """
    features = ((_said(rank, hit), hit.tile.footprint()) for rank, hit in enumerate(hits, start=1))
    write_feature_collection(folder / "hits.geojson", features)
    cells = []

    @lru_cache(maxsize=8)
    def opened(name: str) -> SourceTiles:
        return SourceTiles(picture_at(name, asset=asset), bands=bands, raster=raster, side=0, overlap=0)

    for rank, hit in enumerate(hits, start=1):
        path = Path(hit.tile.source.path)
        notes = tuple(filter(None, (path.name, hit.tile.source.day, _centre(hit))))
        pixels = _pixels(hit, opened)
        cells.append(FoundPicture(pixels=pixels, title=f"{rank}  {hit.score:.3f}", notes=notes))
    plot_found(folder / "hits.png", heading, cells)
    return ["hits.geojson", "hits.png"]


def _pixels(hit: Hit, opened: Callable[[str], SourceTiles]) -> np.ndarray | None:
    """Of the tile; None where its picture is gone, or smaller than it was."""
    try:
        tiles = opened(hit.tile.source.path)
        left, top, width, height = hit.tile.window
        deep, wide = tiles.dates.valid.shape
        return tiles.cut(hit.tile.window) if left + width <= wide and top + height <= deep else None
    except UserError:
        return None


def _said(rank: int, hit: Hit) -> dict[str, Any]:
    tile = hit.tile
    return {
        "rank": rank, "cosine": round(hit.score, 4), "id": tile.id, "source": tile.source.path,
        "window": list(tile.window), "date": tile.source.day, "gsd_m": tile.gsd_m,
    }  # fmt: skip


def _centre(hit: Hit) -> str:
    if hit.tile.box is None:
        return ""
    west, south, east, north = hit.tile.box
    lon = (west + east) / 2
    return f"{lon - 360 if lon > 180 else lon:.4f}, {(south + north) / 2:.4f}"

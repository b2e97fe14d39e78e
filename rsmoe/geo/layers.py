"""GeoJSON files of an answer as layers of a GeoPackage, or as FlatGeobuf."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rsmoe.errors import UserError
from rsmoe.files import whole_file
from rsmoe.geo.styles import add_style

LayerFormat = Literal["gpkg", "fgb"]
_DRIVERS: dict[LayerFormat, str] = {"gpkg": "GPKG", "fgb": "FlatGeobuf"}


def require_layers() -> None:
    """Refuses to start work that would end without the package that writes layers."""
    try:
        import pyogrio  # noqa: F401
    except ImportError as error:
        raise UserError(f"layers= needs pyogrio ({error}): pip install 'rsmoe[gis]'") from None


def write_layers(folder: Path, names: Sequence[str], kind: LayerFormat) -> list[str]:
    """Copies polygons of `rsmoe.geo.geojson.write_geojson`, those in the raster's CRS or in pixels, feature by feature.

    Args:
        folder: of the files, and for the layers.
        names: of files in it; others than ``<layer>_crs.geojson`` and ``<layer>_px.geojson`` are passed over.
        kind: "gpkg", all of them in ``layers.gpkg``, with the styles of `rsmoe.geo.styles.write_styles` that are beside
            them; or "fgb", each in ``<layer>.fgb``, which shares the style of that name.

    Returns:
        The names of what was written.

    Raises:
        UserError: no pyogrio, or a folder that cannot be written.
    """
    require_layers()
    sources = [
        (found[1], folder / found[0]) for name in names if (found := re.fullmatch(r"(\w+)_(?:crs|px)\.geojson", name))
    ]
    targets = (
        {"layers.gpkg": sources} if kind == "gpkg" else {f"{layer}.fgb": [(layer, path)] for layer, path in sources}
    )
    for target, own in targets.items():
        if own:
            with whole_file(folder / target) as part:
                for layer, path in own:
                    _copy(path, part, layer=layer, driver=_DRIVERS[kind])
                    if kind == "gpkg" and path.with_suffix(".qml").is_file():
                        add_style(part, layer, path.with_suffix(".qml").read_text("utf-8"))
    return [target for target, own in targets.items() if own]


def _copy(source: Path, target: Path, *, layer: str, driver: str) -> None:
    import pyogrio.raw
    from pyogrio.errors import DataSourceError

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # pixels have none
        try:
            with pyogrio.raw.open_arrow(source, use_pyarrow=False) as (meta, stream):
                pyogrio.raw.write_arrow(
                    stream, target, layer=layer, driver=driver, geometry_type="Polygon",
                    geometry_name=meta["geometry_name"] or "wkb_geometry", crs=meta["crs"],
                    dataset_options={"VERSION": "1.2"} if driver == "GPKG" else None,  # QGIS 3.22 warns of a later one
                )  # fmt: skip
        except DataSourceError as error:
            raise UserError(f"cannot write {target.parent}: {error}") from error

"""One's own GeoTIFFs, in folders and tables."""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.errors
from affine import Affine
from support.readers import lines, reader, write
from support.readers import save as picture

from rsmoe.data.rasters.images import load_image, picture_size, read_array
from rsmoe.errors import UserError

SIZE = (40, 20)
save = partial(picture, size=SIZE)


def geotiff(path: Path, bands: int, dtype: str = "uint8", *, placed: bool = True) -> Path:
    """40 x 20 pixels of 10 m near Genoa; band k holds k, or 1000 k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"width": SIZE[0], "height": SIZE[1], "count": bands, "dtype": dtype}
    options["photometric"] = "RGB" if bands == 3 else "MINISBLACK"  # else GDAL takes the fourth band for alpha
    if placed:
        options |= {"crs": "EPSG:32632", "transform": Affine(10, 0, 494000, 0, -10, 4917000)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **options) as file:
            for k in range(1, bands + 1):
                file.write(np.full(SIZE[::-1], k if dtype == "uint8" else 1000 * k, dtype), k)
    return path


def test_geotiffs_of_ones_own_keep_their_place_and_bands(tmp_path: Path) -> None:
    for name, bands, dtype in (("rgb", 3, "uint8"), ("four", 4, "uint8"), ("deep", 4, "uint16")):
        geotiff(tmp_path / f"train/{name}.tif", bands, dtype)
    geotiff(tmp_path / "train/plain.tif", 3, placed=False)
    save(tmp_path / "train/web.png")
    for path in list((tmp_path / "train").iterdir()):
        write(path.with_suffix(".txt"), "A port.")
    data = {Path(s.id).stem: s for s in reader("own_folder", tmp_path, "train")}
    assert isinstance(data["rgb"].images[0], Path) and isinstance(data["web"].images[0], Path)
    assert load_image(data["four"].images[0]).shape == (20, 40, 4)
    assert picture_size(tmp_path / "train/four.tif") == picture_size(data["four"].images[0]) == SIZE
    place = data["rgb"].georeference
    assert place is not None and place == data["four"].georeference == data["deep"].georeference
    assert place.crs == "EPSG:32632" and place.bounds == (494000, 4916800, 494400, 4917000)
    assert place.gsd_m == pytest.approx(10, rel=1e-3)
    assert data["plain"].georeference is None and data["web"].georeference is None
    with pytest.raises(UserError, match="deep.tif stores uint16; say how it becomes 8 bits: raster.stretch="):
        load_image(data["deep"].images[0])
    options = {"bands": [3, 2, 1], "stretch": "12bit"}
    chosen = {Path(s.id).stem: s for s in reader("own_folder", tmp_path, "train", raster=options)}
    picture = load_image(chosen["deep"].images[0])
    assert picture.shape == (20, 40, 3) and picture[0, 0].tolist() == [187, 125, 62]  # 3000, 2000, 1000 of 4095
    with pytest.raises(UserError, match="'strech'. Did you mean 'stretch'"):
        reader("own_folder", tmp_path, "train", raster={"strech": "12bit"})


def test_tables_of_geotiffs(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif", 4)
    save(tmp_path / "m.png", 255, "L")
    row = {"image": "a.tif", "instruction": "Mark it.", "task": "mask", "mask": "m.png"}
    lines(tmp_path / "train.jsonl", [row])
    sample = reader("own_jsonl", tmp_path, "train")[0]
    assert sample.georeference is not None and load_image(sample.images[0]).shape == (20, 40, 4)
    assert sample.mask is not None and read_array(sample.mask).all()
    (tmp_path / "a.tif").write_bytes(b"no picture")
    with pytest.raises(UserError, match="a.tif"):
        reader("own_jsonl", tmp_path, "train")[0]


@pytest.mark.real_data
def test_real_geotiffs_that_pillow_cannot_open(tmp_path: Path) -> None:
    source = Path(os.environ["RSMOE_DATA"]) / "geotiff/landsat_pucallpa"
    pictures = sorted(path for path in source.rglob("*.tif*") if path.suffix in (".tif", ".tiff"))
    assert len(pictures) >= 2
    (tmp_path / "train").symlink_to(source, target_is_directory=True)
    rows = {"images": [f"train/{p.relative_to(source)}" for p in pictures[:2]], "instruction": "What changed?"}
    lines(tmp_path / "train.jsonl", [rows | {"answer": "The city grew.", "task": "change_caption"}])
    sample = reader("own_jsonl", tmp_path, "train", raster={"bands": [3, 4]})[0]
    assert sample.georeference is not None and 88 < sample.georeference.gsd_m < 91  # 0.00081 degrees
    shapes = {load_image(image).shape for image in sample.images}
    assert len(shapes) == 1 and shapes.pop()[2] == 2

"""One file is one picture, whichever way it comes in: a folder, a table, a tar file, a shard, or a prediction."""

from __future__ import annotations

import io
import struct
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from readers import lines, reader
from shard_data import Listed, sample, shards_of

from rsmoe.data.images import load_image, picture_size
from rsmoe.data.mask_sources import ColourMap, FileMask, IndexMap
from rsmoe.data.shard_dataset import ShardDataset
from rsmoe.data.tar_image import TarImage
from rsmoe.errors import UserError
from rsmoe.geo import RasterSource
from rsmoe.geo.dates import read_dates

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

GREY = (np.arange(60).reshape(6, 10) * 4 + 3).astype(np.uint8)
"""6 rows of 10 pixels: what is turned or mirrored is seen."""
RGB = np.stack([GREY, 255 - GREY, GREY[::-1]], axis=-1)
BITS = (np.arange(60).reshape(6, 10) % 7 < 3).astype(np.uint8)
NIBBLES = (np.arange(60).reshape(6, 10) % 16).astype(np.uint8)
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [9, 9, 9]], np.uint8)
INDEX = (np.arange(60).reshape(6, 10) % 4).astype(np.uint8)
HOLE = np.zeros((6, 10), bool)
HOLE[2:4, 5:] = True
GRID = {"crs": "EPSG:32632", "transform": Affine(10, 0, 494000, 0, -10, 4917000)}


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def holed(pixels: np.ndarray) -> np.ndarray:
    return np.where(HOLE[..., None], 0, pixels).astype(np.uint8)


# --- how the files are made ---


def pillow(array: np.ndarray, mode: str | None = None, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = Image.fromarray(array)
        image = image if mode is None else image.convert(mode)
        image.save(path, **options)

    return make


def paletted(**options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = Image.fromarray(INDEX)
        image.putpalette(COLOURS.tobytes())
        image.save(path, **options)

    return make


def raster(bands: np.ndarray, hook: Callable[[Any], None] | None = None, **options: Any) -> Callable[[Path], None]:
    """(H, W) or (H, W, C) by GDAL."""

    def make(path: Path) -> None:
        planes = np.moveaxis(bands if bands.ndim == 3 else bands[..., None], -1, 0)
        driver = {".jp2": "JP2OpenJPEG", ".png": "PNG", ".img": "HFA"}.get(path.suffix, "GTiff")
        profile = {"driver": driver, "count": len(planes), "dtype": planes.dtype, "width": 10, "height": 6} | options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", **profile) as file:
                file.write(planes)
                if hook is not None:
                    hook(file)

    return make


def raw_png(depth: int, colour: int, pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> Callable[[Path], None]:
    """A PNG by hand: of 2 and 4 bits, and of 16 with alpha, which Pillow does not write. ``pixels`` are (H, W, C)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    def make(path: Path) -> None:
        height, width, _ = pixels.shape
        if depth == 16:
            rows = [row.astype(">u2").tobytes() for row in pixels]
        else:
            bits = (pixels.reshape(height, -1, 1) >> np.arange(depth)[::-1]) & 1
            rows = [np.packbits(row).tobytes() for row in bits]
        head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        data = zlib.compress(b"".join(b"\0" + row for row in rows))
        parts = [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))

    return make


def frames(**options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(255 - RGB)] * 2, **options)

    return make


def turned(orientation: int, **options: Any) -> Callable[[Path], None]:
    """A file whose rows are to be turned: it stores what ``orientation`` brings upright to `RGB`."""

    def make(path: Path) -> None:
        back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Image.Transpose, its inverse
        image = Image.fromarray(RGB)
        image = image if orientation == 1 else image.transpose(Image.Transpose(back[orientation]))
        if path.suffix == ".tif":
            image.save(path, tiffinfo={274: orientation}, **options)
        else:
            exif = Image.Exif()
            exif[274] = orientation
            image.save(path, exif=exif, **options)

    return make


def with_mask(file: Any) -> None:
    file.write_mask(~HOLE)


def colormap(file: Any) -> None:
    file.write_colormap(1, {i: (*map(int, colour), 255) for i, colour in enumerate(COLOURS)})


ALPHA = np.where(HOLE, 0, 200).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
KEYED = np.where(HOLE[..., None], [1, 2, 3], RGB).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 12 + 200
FOUR = np.dstack([RGB, 255 - GREY // 2])
CMYK = np.array(Image.fromarray(RGB).convert("CMYK"))
SOFT = 4
"""What JPEG may change of a smooth picture."""
SMOOTH = np.stack([np.linspace(40, 200, 60).reshape(6, 10)] * 3, axis=-1).astype(np.uint8)

PICTURES: dict[str, tuple[Callable[[Path], None], np.ndarray]] = {
    "grey.png": (pillow(GREY), three(GREY)),
    "rgb.png": (pillow(RGB), RGB),
    "bit.png": (pillow(BITS * 255, "1"), three(BITS * 255)),
    "bits2.png": (raw_png(2, 0, INDEX[..., None]), three(INDEX * 85)),
    "bits4.png": (raw_png(4, 0, NIBBLES[..., None]), three(NIBBLES * 17)),
    "key4.png": (
        raw_png(4, 0, NIBBLES[..., None], (b"tRNS", b"\0\5")),
        np.where(three(NIBBLES) == 5, 0, three(NIBBLES * 17)).astype(np.uint8),
    ),
    "key1.png": (raw_png(1, 0, BITS[..., None], (b"tRNS", b"\0\1")), three(BITS * 0)),
    "palette.png": (paletted(), COLOURS[INDEX]),
    "palette2.png": (paletted(bits=2), COLOURS[INDEX]),
    "palette_key.png": (
        paletted(transparency=1),
        np.where(three(INDEX) == 1, 0, COLOURS[INDEX]).astype(np.uint8),
    ),
    "alpha.png": (pillow(RGBA), holed(RGB)),
    "grey_alpha.png": (pillow(np.dstack([GREY, ALPHA])), holed(three(GREY))),
    "key.png": (pillow(KEYED, transparency=(1, 2, 3)), holed(RGB)),
    "profile.png": (pillow(RGB, icc_profile=b"no matter"), RGB),
    "rgb.jpg": (pillow(SMOOTH, quality=95), SMOOTH),
    "grey.jpg": (pillow(SMOOTH[..., 0], quality=95), SMOOTH),
    "cmyk.jpg": (pillow(SMOOTH, "CMYK", quality=95), SMOOTH),
    "camera.jfif": (pillow(SMOOTH, format="JPEG", quality=95), SMOOTH),
    "really_jpeg.png": (pillow(SMOOTH, format="JPEG", quality=95), SMOOTH),
    "really_tiff.png": (pillow(RGB, format="TIFF"), RGB),
    "really_png.tif": (pillow(RGB, format="PNG"), RGB),
    "stereo.jpg": (frames(format="MPO", quality=98, subsampling=0), RGB),
    "moving.gif": (
        lambda path: Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(GREY // 2)]),
        three(GREY),
    ),
    "palette.gif": (paletted(), COLOURS[INDEX]),
    "moving.webp": (frames(lossless=True), RGB),
    "rgb.webp": (pillow(RGB, lossless=True), RGB),
    "alpha.webp": (pillow(RGBA, lossless=True, exact=True), holed(RGB)),
    "rgb.bmp": (pillow(RGB), RGB),
    "bit.bmp": (pillow(BITS * 255, "1"), three(BITS * 255)),
    "palette.bmp": (paletted(), COLOURS[INDEX]),
    "grey.tif": (pillow(GREY), three(GREY)),
    "upper.TIF": (pillow(RGB, format="TIFF"), RGB),
    "long.TIFF": (pillow(RGB, format="TIFF"), RGB),
    "big.tif": (raster(RGB, BIGTIFF="YES"), RGB),
    "planes.tif": (raster(RGB, interleave="band"), RGB),
    "tiles.tif": (raster(RGB, tiled=True, blockxsize=16, blockysize=16), RGB),
    "lzw.tif": (raster(RGB, compress="lzw", predictor=2), RGB),
    "zstd.tif": (raster(RGB, compress="zstd", predictor=2), RGB),
    "lerc.tif": (raster(RGB, compress="lerc_zstd"), RGB),
    "lzma.tif": (raster(RGB, compress="lzma"), RGB),
    "webp.tif": (raster(RGB, compress="webp", webp_lossless=True), RGB),
    "jpeg.tif": (raster(SMOOTH, compress="jpeg", photometric="YCBCR", jpeg_quality=95), SMOOTH),
    "ycbcr.tif": (pillow(SMOOTH, "YCbCr", compression="tiff_lzw"), SMOOTH),
    "cmyk.tif": (pillow(RGB, "CMYK"), RGB),
    "pages.tif": (frames(), RGB),
    "bit.tif": (pillow(BITS * 255, "1"), three(BITS * 255)),
    "fax.tif": (pillow(BITS * 255, "1", compression="group4"), three(BITS * 255)),
    "nbits1.tif": (raster(BITS, nbits=1), three(BITS * 255)),
    "nbits4.tif": (raster(NIBBLES, nbits=4), three(NIBBLES * 17)),
    "white1.tif": (raster(BITS, nbits=1, photometric="MINISWHITE"), three(255 - BITS * 255)),
    "white4.tif": (raster(NIBBLES, nbits=4, photometric="MINISWHITE"), three(255 - NIBBLES * 17)),
    "white8.tif": (raster(GREY, photometric="MINISWHITE"), three(255 - GREY)),
    "palette.tif": (paletted(), COLOURS[INDEX]),
    "palette_gdal.tif": (raster(INDEX, colormap), COLOURS[INDEX]),
    "palette_nodata.tif": (
        raster(INDEX, colormap, nodata=2),
        np.where(three(INDEX) == 2, 0, COLOURS[INDEX]).astype(np.uint8),
    ),
    "alpha.tif": (pillow(RGBA), holed(RGB)),
    "alpha_gdal.tif": (raster(RGBA, photometric="RGB", alpha="YES"), holed(RGB)),
    "grey_alpha.tif": (pillow(np.dstack([GREY, ALPHA])), holed(three(GREY))),
    "nodata.tif": (raster(np.where(HOLE, 77, np.where(GREY == 77, 78, GREY)).astype(np.uint8), nodata=77), holed(three(GREY))),
    "nodata_rgb.tif": (raster(np.where(HOLE[..., None], 9, RGB).astype(np.uint8), nodata=9), holed(RGB)),
    "mask.tif": (raster(RGB, with_mask), holed(RGB)),
    "placed.tif": (raster(RGB, **GRID), RGB),
    "four.tif": (raster(FOUR, photometric="MINISBLACK"), FOUR),
    "naip.tif": (raster(FOUR, photometric="RGB", alpha="NO"), FOUR),
    "rgb.jp2": (raster(RGB, reversible="YES", quality=100), RGB),
    "grey.jp2": (raster(GREY, reversible="YES", quality=100), three(GREY)),
    "bit.jp2": (raster(BITS, reversible="YES", quality=100, nbits=1), three(BITS * 255)),
    **{f"turned{k}.tif": (turned(k, compression="tiff_lzw"), RGB) for k in range(1, 9)},
    **{f"turned{k}.png": (turned(k), RGB) for k in (3, 6)},
    **{f"turned{k}.webp": (turned(k, lossless=True), RGB) for k in (5, 8)},
}  # fmt: skip
"""File -> how it is made, and the picture that it is."""

VALID = {
    "key4.png": NIBBLES != 5,
    "key1.png": BITS != 1,
    "palette_key.png": INDEX != 1,
    "palette_nodata.tif": INDEX != 2,
    **{name: ~HOLE for name in PICTURES if name.partition(".")[0] in ("alpha", "alpha_gdal", "grey_alpha", "key")},
    **{name: ~HOLE for name in ("nodata.tif", "nodata_rgb.tif", "mask.tif")},
}
"""File -> where it holds data, of those that do not everywhere."""

DEEPER = "stores {}; say how it becomes 8 bits: stretch=.*raster.stretch=.*data.raster.stretch=.*gdal_translate"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "deep.png": (raw_png(16, 0, DEEP[..., None]), DEEPER.format("uint16")),
    "deep_rgb.png": (raw_png(16, 2, np.dstack([DEEP] * 3)), DEEPER.format("uint16")),
    "deep_alpha.png": (raw_png(16, 6, np.dstack([DEEP] * 4)), DEEPER.format("uint16")),
    "deep_la.png": (raw_png(16, 4, np.dstack([DEEP] * 2)), DEEPER.format("uint16")),
    "deep.tif": (raster(DEEP), DEEPER.format("uint16")),
    "deep_rgb.tif": (raster(np.dstack([DEEP] * 3), photometric="RGB"), DEEPER.format("uint16")),
    "deep_planes.tif": (raster(np.dstack([DEEP] * 3), interleave="band"), DEEPER.format("uint16")),
    "deep_four.tif": (raster(np.dstack([DEEP] * 4), photometric="RGB"), DEEPER.format("uint16")),
    "deep.jp2": (raster(np.dstack([DEEP] * 3), reversible="YES", quality=100), DEEPER.format("uint16")),
    "twelve.tif": (raster(DEEP, nbits=12), DEEPER.format("uint16")),
    "int16.tif": (raster(DEEP.astype(np.int16)), DEEPER.format("int16")),
    "int8.tif": (raster((GREY // 3).astype(np.int8)), DEEPER.format("int8")),
    "uint32.tif": (raster(DEEP.astype(np.uint32)), DEEPER.format("uint32")),
    "float.tif": (raster(GREY / np.float32(255), tiled=True, compress="deflate", predictor=3), DEEPER.format("float32")),
    "complex.tif": (raster(GREY.astype(np.complex64)), "complex64; expected real numbers"),
    "empty.tif": (Path.touch, "empty|not a picture"),
    "empty.png": (Path.touch, "empty|not a picture"),
    "page.tif": (lambda path: path.write_text("<html>404</html>"), "not a raster|not a picture"),
    "page.jp2": (lambda path: path.write_text("<html>404</html>"), "not a raster|not a picture"),
    "virtual.tif": (lambda path: path.write_text("<VRTDataset rasterXSize='9' rasterYSize='9'/>"), "not a"),
    "wms.jpg": (lambda path: path.write_text("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>"), "not a picture"),
}  # fmt: skip
"""File -> how it is made, and what is said about it."""


# --- the ways in ---


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def ways(path: Path, out: Path) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Each way from a file to what a model sees, by name."""
    folder = path.parent
    yield "path", lambda: load_image(path)

    def table() -> np.ndarray:
        lines(folder / "train.jsonl", [{"image": path.name, "instruction": "What is it?", "answer": "sea", "task": "vqa"}])
        return load_image(reader("own_jsonl", folder)[0].images[0])

    yield "table", table

    def tar() -> np.ndarray:
        content = path.read_bytes()
        (folder / "x.tar").write_bytes(b"\0" * 512 + content)
        return load_image(TarImage(folder / "x.tar", 512, len(content), path.name))

    yield "tar", tar

    def webdataset() -> np.ndarray:
        (folder / "train").mkdir(exist_ok=True)
        with tarfile.open(folder / "train/0.tar", "w") as file:
            for suffix, content in ((path.suffix[1:], path.read_bytes()), ("txt", b"A sea.")):
                info = tarfile.TarInfo(f"a.{suffix}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
        return load_image(reader("own_webdataset", folder, image=path.suffix[1:])[0].images[0])

    yield "webdataset", webdataset
    for pixels in ("encoded", "raw"):

        def shard(pixels: str = pixels) -> np.ndarray:
            shards_of(Listed([sample("a", path)]), out / pixels, pixels=pixels)
            return load_image(ShardDataset(root=str(out / pixels), split="train")[0].images[0])

        yield f"shard {pixels}", shard
    yield "predict", lambda: read_dates([path], bands=3).images[0]


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_is_one_picture(name: str, tmp_path: Path, out: Path) -> None:
    make, expected = PICTURES[name]
    path = tmp_path / name
    make(path)
    lossy = ".jp" in name and ".jp2" not in name or name in ("really_jpeg.png", "jpeg.tif", "ycbcr.tif", "camera.jfif")
    first = None
    for way, read in ways(path, out):
        found = read()
        wanted = expected[..., :3] if way == "predict" else expected
        assert found.dtype == np.uint8 and found.shape == wanted.shape, (way, found.shape)
        assert np.abs(found.astype(int) - wanted).max() <= (SOFT if lossy else 0), (way, found[..., 0], wanted[..., 0])
        first = found if first is None else first
        assert np.array_equal(found, first[..., : found.shape[2]]), way
    assert picture_size(path) == (10, 6)
    assert np.array_equal(read_dates([path], bands=3).valid, VALID.get(name, ~HOLE & False | True))


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_in_every_way(name: str, tmp_path: Path, out: Path) -> None:
    make, message = REFUSED[name]
    path = tmp_path / name
    make(path)
    for way, read in ways(path, out):
        if way == "table" and path.stat().st_size == 0:
            continue  # counted with its kind by the reader
        with pytest.raises(UserError) as error:
            read()
        text = str(error.value)
        assert "\n" not in text and (name in text or "0:0" in text), (way, text)
        if way != "table" or "stores" in message:
            import re

            assert re.search(message, text), (way, text)

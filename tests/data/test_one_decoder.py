"""One file is one picture, whichever way it comes in: a folder, a table, a tar file, a shard, or a prediction."""

from __future__ import annotations

import io
import re
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
from PIL import Image, TiffImagePlugin
from rasterio.errors import NotGeoreferencedWarning
from support.readers import lines, reader
from support.shard_data import Listed, sample, shards_of

from rsmoe.data.rasters.class_map_sources import ColourMap, IndexMap
from rsmoe.data.rasters.images import decode_image, load_image, picture_size
from rsmoe.data.rasters.mask_sources import FileMask
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.data.shards.member import ShardMember
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
ROW = {"instruction": "What is it?", "answer": "sea", "task": "vqa"}
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
    "nodata.tif": (raster(np.where(HOLE, 1, GREY).astype(np.uint8), nodata=1), holed(three(GREY))),
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

DEEPER = (
    "stores {}; say how it becomes 8 bits: raster.stretch=<name>.*raster.stretch=.*model.ask; data.raster.stretch=.*"
    "gdal_translate"
)
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
    "float.tif": (raster(GREY / np.float32(255), compress="deflate", predictor=3), DEEPER.format("float32")),
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
        lines(folder / "train.jsonl", [{"image": path.name, **ROW}])
        return load_image(reader("own_jsonl", folder)[0].images[0])

    yield "table", table

    def tar() -> np.ndarray:
        content = path.read_bytes()
        (folder / "x.tar").write_bytes(b"\0" * 512 + content)
        return load_image(ShardMember(shard=str(folder / "x.tar"), offset=512, size=len(content), name=path.name))

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
            assert re.search(message, text), (way, text)


# --- what is declared, and what lies beside ---


def test_a_declared_stretch_reads_what_is_too_deep_in_every_way(tmp_path: Path, out: Path) -> None:
    wanted = three((DEEP * np.float32(255 / 4095)).round().astype(np.uint8))
    options = {"stretch": "12bit"}
    for name, make in (
        ("grey.png", raw_png(16, 0, DEEP[..., None])),
        ("alpha.png", raw_png(16, 6, np.dstack([DEEP] * 3 + [np.where(HOLE, 0, 65535)]))),
        ("grey.tif", raster(DEEP, **GRID)),
        ("rgb.tif", raster(np.dstack([DEEP] * 3), photometric="RGB")),
        ("rgb.jp2", raster(np.dstack([DEEP] * 3), reversible="YES", quality=100)),
        ("float.tif", raster(DEEP.astype(np.float32))),
        ("white.tif", raster(DEEP, photometric="MINISWHITE")),
    ):
        path = tmp_path / name
        make(path)
        lines(tmp_path / "train.jsonl", [{"image": name, **ROW}])
        data = reader("own_jsonl", tmp_path, raster=options)
        expected = holed(wanted) if name == "alpha.png" else 255 - wanted if name == "white.tif" else wanted
        seen = load_image(data[0].images[0])
        np.testing.assert_array_equal(seen, expected, err_msg=name)
        np.testing.assert_array_equal(read_dates([path], bands=3, options=options).images[0], expected)
        shards_of(Listed([data[0]]), out / name)
        stored = ShardDataset(root=str(out / name), split="train")[0]
        np.testing.assert_array_equal(load_image(stored.images[0]), expected)
        assert stored.georeference == data[0].georeference
        assert (stored.georeference is not None) == (name == "grey.tif")


def test_the_two_ways_choose_the_same_bands(tmp_path: Path) -> None:
    def name_bands(file: Any) -> None:
        file.descriptions = ("blue", "green", "red", "nir")

    for name, make in (
        ("naip", raster(FOUR, photometric="RGB", alpha="NO")),
        ("bgr", raster(FOUR, name_bands, photometric="MINISBLACK")),
    ):
        path = tmp_path / f"{name}.tif"
        make(path)
        lines(tmp_path / "train.jsonl", [{"image": path.name, **ROW}])
        for bands in ([4, 1, 2], ["red", "green", "blue"], [1, 2, 3, 4], [3]):
            chosen = reader("own_jsonl", tmp_path, raster={"bands": bands})[0]
            found = read_dates([path], bands=len(bands), options={"bands": bands}).images[0]
            np.testing.assert_array_equal(load_image(chosen.images[0]), found)
        told = read_dates([path], bands=3).images[0]
        np.testing.assert_array_equal(told, FOUR[..., :3] if name == "naip" else FOUR[..., 2::-1])


def test_what_lies_beside_a_file_does_not_change_its_pixels(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "a.tif"
    raster(RGB, photometric="RGB")(path)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO", TIFF_USE_OVR="YES"), rasterio.open(path, "r+") as file:
        file.write_mask(~HOLE)
        file.build_overviews([2])
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>494000,10,0,4917000,0,-10</GeoTransform>"
        '<PAMRasterBand band="1"><NoDataValue>3</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    assert {p.name for p in tmp_path.iterdir()} > {"a.tif", "a.tif.msk", "a.tif.ovr", "a.tif.aux.xml"}
    for way, read in ways(path, out):
        np.testing.assert_array_equal(read(), RGB, err_msg=way)
    place = RasterSource(path=path).georeference  # the one thing that is taken from there
    assert place is not None and place.crs == "EPSG:32632" and place.bounds == (494000, 4916940, 494100, 4917000)


def test_no_file_leads_to_another_one(tmp_path: Path) -> None:
    secret = tmp_path / "secret.tif"
    raster(RGB)(secret)
    raster(RGB, lambda file: file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret)))(tmp_path / "a.tif")
    virtual = (
        f'<VRTDataset rasterXSize="10" rasterYSize="6"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    for name in ("b.tif", "c.png", "d.jp2", "e.img", "f.vrt"):
        (tmp_path / name).write_text(virtual)
    for name in ("a.tif", "b.tif", "c.png", "d.jp2", "e.img", "f.vrt"):
        path = tmp_path / name
        reads: list[Callable[[], Any]] = [
            lambda path=path: load_image(path),
            lambda path=path: decode_image(path.read_bytes(), path.name),
            lambda path=path: read_dates([path], bands=3),
            lambda path=path: RasterSource(path=path, stretch="percentile").read(),
        ]
        for read in reads:
            with pytest.raises(UserError, match=name):
                read()


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_file_with_a_place_keeps_its_rows(orientation: int, tmp_path: Path, out: Path) -> None:
    """Its transform speaks of them, whatever the tag says: GDAL and QGIS show it the same way."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    for tag, kind, value in (
        (274, 3, orientation), (33550, 12, (10.0, 10.0, 0.0)), (33922, 12, (0.0, 0.0, 0.0, 494000.0, 4917000.0, 0.0)),
        (34735, 3, keys),
    ):  # fmt: skip
        tags.tagtype[tag] = kind
        tags[tag] = value
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).save(path, tiffinfo=tags)
    for way, read in ways(path, out):
        np.testing.assert_array_equal(read(), RGB, err_msg=way)
    assert RasterSource(path=path).georeference is not None and picture_size(path) == (10, 6)


def test_windows_of_a_turned_file_are_upright(tmp_path: Path) -> None:
    turned(6)(tmp_path / "a.tif")
    np.testing.assert_array_equal(RasterSource(path=tmp_path / "a.tif", window=(7, 1, 3, 4)).read(), RGB[1:5, 7:])


def test_a_raster_source_of_any_picture(tmp_path: Path) -> None:
    for name in ("rgb.png", "alpha.webp", "key.png", "turned6.png", "moving.gif"):
        path = tmp_path / name
        make, expected = PICTURES[name]
        make(path)
        source = RasterSource(path=path, bands=("blue", 1))
        np.testing.assert_array_equal(source.read(), expected[..., [2, 0]], err_msg=name)
        assert np.array_equal(source.valid(), VALID.get(name, np.ones((6, 10), bool))) and source.georeference is None


@pytest.mark.parametrize("driver", ["HFA", "ENVI"])
def test_files_with_a_part_beside_them(driver: str, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "a.img"
    raster(RGB, driver=driver, **GRID)(path)
    for way, read in ways(path, out):
        if way not in ("tar", "webdataset"):  # bytes alone are not the whole of such a file
            np.testing.assert_array_equal(read(), RGB, err_msg=way)
        else:
            with pytest.raises(UserError, match="not a picture"):
                read()
    assert read_dates([path], bands=3).georeference is not None


# --- files that are not whole ---


@pytest.mark.parametrize(
    "name",
    [
        "rgb.png",
        "rgb.jpg",
        "rgb.webp",
        "rgb.bmp",
        "palette.gif",
        "palette_gdal.tif",
        "mask.tif",
        "lzw.tif",
        "tiles.tif",
        "zstd.tif",
        "rgb.jp2",
    ],
)
def test_half_a_file_is_refused_in_every_way(name: str, tmp_path: Path, out: Path) -> None:
    path = tmp_path / name
    PICTURES[name][0](path)
    whole = path.read_bytes()
    for part in (0.3, 0.6):
        path.write_bytes(whole[: int(part * len(whole))])
        for way, read in ways(path, out / str(part)):
            if way in ("path", "tar", "predict"):
                with pytest.raises(UserError, match="truncated|damaged|not a picture|no image"):
                    read()


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_small_file_that_promises_much_is_not_decoded(name: str, tmp_path: Path, out: Path) -> None:
    path = tmp_path / name
    if name == "a.png":
        raw_png(8, 0, GREY[..., None])(path)
        content = bytearray(path.read_bytes())
        content[16:24] = struct.pack(">II", 20_000, 20_000)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content)
    else:
        sparse: dict[str, Any] = {"width": 20_000, "height": 20_000, "count": 1, "dtype": "uint8", "SPARSE_OK": True}
        with rasterio.open(path, "w", driver="GTiff", tiled=True, **sparse):
            pass
    for way, read in ways(path, out):
        if (name, way) == ("a.tif", "predict"):
            continue  # which reads rasters window by window
        with pytest.raises(UserError, match=r"more than 100,000,000 pixels.*gdal_translate -srcwin"):
            read()
            pytest.fail(way)
    with pytest.raises(UserError, match="more than 100,000,000 pixels"):
        picture_size(path)


def test_many_bands_are_not_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster(FOUR, photometric="MINISBLACK")(tmp_path / "a.tif")
    monkeypatch.setattr("rsmoe.geo.raster._MOST_VALUES", 200)
    with pytest.raises(UserError, match=r"a.tif has 4 bands and 240 values; choose bands: raster.bands="):
        load_image(tmp_path / "a.tif")
    assert RasterSource(path=tmp_path / "a.tif", bands=(1, 2, 3)).read().shape == (6, 10, 3)


# --- masks and class maps ---


BOX = np.zeros((6, 10), np.uint8)
BOX[1:4, 2:7] = 1
MASKS: dict[str, Callable[[Path], None]] = {
    "one.png": pillow(BOX),
    "full.png": pillow(BOX * 255),
    "bit.png": pillow(BOX * 255, "1"),
    "bits2.png": raw_png(2, 0, BOX[..., None]),
    "bits4.png": raw_png(4, 0, BOX[..., None]),
    "grey_alpha.png": pillow(np.dstack([BOX * 255, ALPHA])),
    "three.png": pillow(three(BOX * 255)),
    "four.png": pillow(np.dstack([three(BOX * 255), ALPHA])),
    "deep.png": raw_png(16, 0, BOX[..., None].astype(np.uint16)),
    "full.bmp": pillow(BOX * 255),
    "bit.bmp": pillow(BOX * 255, "1"),
    "bit.tif": pillow(BOX * 255, "1"),
    "nbits.tif": raster(BOX, nbits=1),
    "white1.tif": raster(1 - BOX, nbits=1, photometric="MINISWHITE"),
    "white8.tif": raster(255 - BOX, photometric="MINISWHITE"),
    "deep.tif": raster(BOX.astype(np.uint16)),
    "int.tif": raster(BOX.astype(np.int32)),
    "float.tif": raster(BOX.astype(np.float32)),
    "double.tif": raster(BOX.astype(np.float64), nodata=0),
    "zstd.tif": raster(BOX * 255, compress="zstd"),
    "byte.jp2": raster(BOX, reversible="YES", quality=100),
    "alpha.tif": raster(np.dstack([BOX, ALPHA]), alpha="YES"),
}  # fmt: skip


FULL = {"full.png", "full.bmp", "grey_alpha.png", "three.png", "four.png", "zstd.tif"}
FULL |= {"bit.png", "bit.bmp", "bit.tif", "nbits.tif", "white1.tif"}
"""The files whose masks are 255, or a bit, which may be either."""


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_the_same_in_any_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    MASKS[name](path)
    np.testing.assert_array_equal(FileMask(path).read(), BOX == 1)
    if name in FULL:
        np.testing.assert_array_equal(FileMask(path, above=127).read(), BOX == 1)
    if name not in FULL or "bit" in name or name == "white1.tif":
        np.testing.assert_array_equal(IndexMap(path).read(), BOX)


def _coloured(path: Path) -> None:
    image = Image.fromarray(NIBBLES % 4)
    image.putpalette(COLOURS.tobytes())
    image.save(path)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.bmp"])
def test_a_palette_is_indices_to_who_counts_and_colours_to_who_names_them(name: str, tmp_path: Path) -> None:
    _coloured(tmp_path / name)
    np.testing.assert_array_equal(IndexMap(tmp_path / name).read(), NIBBLES % 4)
    colours = tuple(tuple(map(int, colour)) for colour in COLOURS)
    np.testing.assert_array_equal(ColourMap(tmp_path / name, colours).read(), NIBBLES % 4)


def test_class_maps_of_many_and_few_bits(tmp_path: Path) -> None:
    table = {1000 + value: value for value in range(16)}
    for name, make in (
        ("a.png", raw_png(16, 0, NIBBLES[..., None].astype(np.uint16) + 1000)),
        ("a.tif", raster(NIBBLES.astype(np.uint16) + 1000, nodata=1003)),
        ("f.tif", raster(NIBBLES.astype(np.float32) + 1000)),
        ("d.png", raw_png(16, 2, three(NIBBLES).astype(np.uint16) + 1000)),
    ):
        make(tmp_path / name)
        np.testing.assert_array_equal(IndexMap(tmp_path / name, remap=table).read(), NIBBLES)
        with pytest.raises(UserError, match=rf"{name} holds the values 1000, .*mean no class"):
            IndexMap(tmp_path / name).read()
    for name, make in (("b.png", raw_png(4, 0, NIBBLES[..., None])), ("b.tif", raster(NIBBLES, nbits=4))):
        make(tmp_path / name)
        np.testing.assert_array_equal(IndexMap(tmp_path / name).read(), NIBBLES)
    white = np.where(HOLE[..., None], 255, three(GREY // 2)).astype(np.uint8)
    raster(white, nodata=255)(tmp_path / "c.tif")
    pillow(np.dstack([white, ALPHA]))(tmp_path / "c.png")
    for name in ("c.tif", "c.png"):  # white is a class, whatever else it means
        np.testing.assert_array_equal(ColourMap(tmp_path / name, ((255, 255, 255),)).read() == 0, HOLE)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("half.tif", raster(BOX / np.float32(2)), r"half.tif holds the value 0.5; expected whole numbers"),
        ("nan.tif", raster(np.where(HOLE, np.nan, BOX).astype(np.float32)), r"nan.tif holds the value nan"),
        ("minus.tif", raster(BOX.astype(np.int16) - 1), "minus.tif holds values from -1 to 0; expected 0 to 65535"),
        ("large.tif", raster(BOX.astype(np.uint32) * 70_000), "large.tif holds values from 0 to 70000"),
        ("complex.tif", raster(BOX.astype(np.complex64)), "complex.tif .*complex64"),
        ("rgb.png", pillow(RGB), "rgb.png holds colours"),
        ("rgb.tif", raster(RGB), "rgb.tif holds colours"),
        ("cmyk.jpg", pillow(RGB, "CMYK"), "cmyk.jpg is compressed as a photograph"),
        ("seven.png", pillow(BOX * 255), "seven.png"),
    ],
)
def test_a_mask_that_means_nothing_is_named(
    name: str, make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(UserError, match=message):
        IndexMap(tmp_path / name, ignore=() if name == "seven.png" else (255,)).read()


def test_masks_of_jpeg_are_those_that_were_saved(tmp_path: Path) -> None:
    """Around a shape JPEG leaves values of 1 to 20, which are no part of it, and no class."""
    big = np.kron(BOX, np.ones((10, 10), np.uint8))
    for name, make in (
        ("a.jpg", pillow(big * 255)),
        ("b.jpg", pillow(three(big * 255))),
        ("c.webp", pillow(three(big * 255))),
        ("d.tif", pillow(big * 255, compression="jpeg")),
    ):
        make(tmp_path / name)
        np.testing.assert_array_equal(FileMask(tmp_path / name).read(), big == 1)
        for source in (
            IndexMap(tmp_path / name, remap={value: value % 2 for value in range(256)}),
            ColourMap(tmp_path / name, ((255, 255, 255),)),
        ):
            with pytest.raises(UserError, match=f"{name} is compressed as a photograph.*PNG or TIFF"):
                source.read()
    pillow(big * 9)(tmp_path / "small.jpg")
    with pytest.raises(UserError, match=r"small.jpg is compressed as a photograph"):
        FileMask(tmp_path / "small.jpg").read()
    pillow(big * 0)(tmp_path / "none.jpg")
    assert not FileMask(tmp_path / "none.jpg").read().any()


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.bmp"])
def test_a_mask_in_a_palette_of_greys_is_what_is_white(name: str, tmp_path: Path) -> None:
    """``Image.quantize`` gives white the first index; a palette with other colours is indices."""
    image = Image.fromarray(1 - BOX)
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / name)
    np.testing.assert_array_equal(FileMask(tmp_path / name).read(), BOX == 1)
    np.testing.assert_array_equal(IndexMap(tmp_path / name).read(), 1 - BOX)
    image = Image.fromarray(BOX)
    image.putpalette([255, 255, 255, 200, 0, 0])
    image.save(tmp_path / name)
    np.testing.assert_array_equal(FileMask(tmp_path / name).read(), BOX == 1)


@pytest.mark.parametrize("level", [0, 255])
def test_a_mask_in_the_transparency_is_named(level: int, tmp_path: Path) -> None:
    for bands in (1, 3):
        colour = np.full((*BOX.shape, bands), level, np.uint8)
        pillow(np.dstack([colour, BOX * 255]))(tmp_path / "a.png")
        for source in (FileMask(tmp_path / "a.png"), IndexMap(tmp_path / "a.png")):
            with pytest.raises(UserError, match=r"a.png is of one colour, and its shape is in its transparency"):
                source.read()


def test_a_mask_stands_upright_as_its_picture(tmp_path: Path) -> None:
    for suffix in ("png", "tif"):
        picture, mask = tmp_path / f"p.{suffix}", tmp_path / f"m.{suffix}"
        turned(6)(picture)
        exif = Image.Exif()
        exif[274] = 6
        options: dict[str, Any] = {"tiffinfo": {274: 6}} if suffix == "tif" else {"exif": exif}
        Image.fromarray(BOX).transpose(Image.Transpose.ROTATE_90).save(mask, **options)
        np.testing.assert_array_equal(FileMask(mask, image=picture).read(), BOX == 1)

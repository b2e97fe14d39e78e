"""Where in a picture a sentence fits: the map, its files, the four indicators, and mosaics to measure them on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsmoe.archive.heat_map import averaged, heat_map, tiles_of
from rsmoe.archive.mixture_embedder import MixtureEmbedder
from rsmoe.commands import localise
from rsmoe.metrics.regions.localisation import attention_centres, localisation
from rsmoe.scenes.generator import SCENE_CLASSES
from rsmoe.scenes.mosaic import mosaic
from rsmoe.studies.localisation import saliency


class BlueEmbedder:
    """The more blue a picture, the nearer to any sentence."""

    fingerprint, bands, dim = "b1ue", 3, 2

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        blue = np.array([image[..., 2].mean() / 255 for image in images])
        return np.stack([blue, np.sqrt(1 - blue**2)], axis=1).astype(np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0.0]] * len(texts), np.float32)

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word == "zebra"]


def scene() -> np.ndarray:
    """Black, with a blue square of 64 px whose upper left corner is at column 128, row 64."""
    picture = np.zeros((192, 256, 3), np.uint8)
    picture[64:128, 128:192, 2] = 250
    return picture


def square(left: float, top: float, side: float) -> np.ndarray:
    return np.array([(left, top), (left + side, top), (left + side, top + side), (left, top + side)])


def test_a_map_is_the_mean_of_the_tiles_that_show_a_pixel() -> None:
    windows = tiles_of((64, 128), [64])
    assert windows == [(slice(0, 64), slice(k, k + 64)) for k in (0, 32, 64)]
    heat = averaged(windows, np.array([0.0, 1.0, 0.0]), shape=(64, 128), side=64)
    assert heat.shape == (64, 128) and heat.dtype == np.float32
    np.testing.assert_allclose(heat[32, [8, 40, 88, 120]], [0, 1, 1, 0], atol=1e-6)  # 0, then the mean of 0 and 1: most
    assert not averaged(windows, np.ones(3), shape=(64, 128), side=64).any()


def test_the_map_is_hottest_where_the_sentence_fits() -> None:
    heat = heat_map(BlueEmbedder(), scene(), "blue", sides=(32, 64), batch_size=7)
    assert heat.shape == (192, 256) and heat.min() >= 0 and heat.max() <= 1
    assert heat[80:112, 144:176].min() > 0.5 > heat[:, :64].max()
    found = localisation(heat, [square(128, 64, 64)], tile_px=32)
    elsewhere = localisation(heat, [square(0, 0, 64)], tile_px=32)
    assert found.rmi > 0.95 and elsewhere.rmi < 0.2 and found.rda == 1 and elsewhere.ras == pytest.approx(1)


def test_indicators_are_those_of_their_equations() -> None:
    heat = np.full((100, 100), 0.2)
    heat[20:40, 20:40] = 0.8
    found = localisation(heat, [square(20, 20, 20)], tile_px=16)
    assert found.rsu == pytest.approx(1 - math.exp(-0.707 * 0.8 / 0.2))
    ((x, y),) = attention_centres(heat, tile_px=16)
    offset = math.hypot(x - 30, y - 30) / (1.5 * math.hypot(10, 10))
    assert offset < 0.05 and found.ras == pytest.approx((math.exp(3 * offset) - 1) / (math.exp(3) - 1))
    assert found.rda == 1
    assert found.rmi == pytest.approx(0.4 * found.rsu + 0.35 * (1 - found.ras) + 0.25)
    flat = localisation(np.full((100, 100), 0.3), [square(20, 20, 20)], tile_px=16)
    assert (flat.rsu, flat.ras, flat.rda) == (pytest.approx(1 - math.exp(-0.707)), pytest.approx(1), 0)
    assert len(attention_centres(np.full((100, 100), 0.3))) == 0


def test_two_centres_in_one_region_count_less_than_one() -> None:
    heat = np.zeros((120, 240))
    heat[50:70, 40:60] = heat[50:70, 180:200] = 1
    centres = attention_centres(heat, tile_px=16)
    assert centres[np.argsort(centres[:, 0])] == pytest.approx(np.array([(49.5, 59.5), (189.5, 59.5)]), abs=1)
    radius = 1.5 * math.hypot(119, 59)
    expected = 0.5 * (1 - 70 / radius) + math.exp(-2)
    whole = np.array([(1.0, 1.0), (239.0, 1.0), (239.0, 119.0), (1.0, 119.0)])
    assert localisation(heat, [whole], tile_px=16).rda == pytest.approx(expected, abs=0.01)


def test_the_command_writes_a_map_in_the_place_of_its_raster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MixtureEmbedder, "open", lambda checkpoint, *, device: BlueEmbedder())
    options = {"driver": "GTiff", "height": 192, "width": 256, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    grid = rasterio.Affine(10.0, 0.0, 5e5, 0.0, -10.0, 5e6)
    with rasterio.open(tmp_path / "a.tif", "w", **options, transform=grid, photometric="RGB") as file:
        file.write(np.moveaxis(scene(), -1, 0))
    localise.cli(["blue", "zebra", f"image={tmp_path / 'a.tif'}", f"out={tmp_path / 'out'}", "sides=[32,64]"])
    said = capsys.readouterr().out
    assert "never read: zebra" in said
    with rasterio.open(tmp_path / "out/heat.tif") as file:
        heat = file.read(1)
        assert file.crs.to_epsg() == 32632 and file.transform == grid
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 64 <= row < 128 and 128 <= column < 192 and heat.max() <= 254
    assert Image.open(tmp_path / "out/heat.png").size[0] == 1440
    with pytest.raises(SystemExit, match="no image file"):
        localise.cli(["blue", f"image={tmp_path / 'none.png'}", f"out={tmp_path / 'out'}"])


def test_a_mosaic_holds_each_class_once_and_its_sentence_names_the_place() -> None:
    found = mosaic("test", 3, size_px=32)
    assert found.picture.shape == (128, 128, 3) and found.scene_class in SCENE_CLASSES
    assert found.scene_class in found.sentence
    assert found.region.max() <= 128 and np.ptp(found.region, axis=0).tolist() == [32, 32]
    again = mosaic("test", 3, size_px=32)
    np.testing.assert_array_equal(found.picture, again.picture)
    assert (mosaic("val", 3, size_px=32).picture != found.picture).any()


def test_a_map_of_saliency_reads_no_word_and_finds_what_differs() -> None:
    picture = np.random.default_rng(0).integers(90, 110, (128, 128, 3), dtype=np.uint8)
    picture[80:96, 32:48] = 255
    heat = saliency(picture, sides=[32])
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.shape == (128, 128) and 64 <= row < 112 and 16 <= column < 64 and heat[:, 96:].max() < 0.5

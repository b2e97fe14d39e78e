"""Masks and boxes tile by tile: one answer, whatever the tiles are, in the places where things are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.features import rasterize
from rich.console import Console
from support.checkpoints import tiny_run
from support.models import codecs, tiny_config, tiny_model

import rsmoe.predict
from rsmoe.data.collate import Collate
from rsmoe.evaluation import asked_tiles, responder
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.open_run import OpenRun
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.reply_files import write_boxes, write_mask
from rsmoe.evaluation.request import Request
from rsmoe.experts.instances import located
from rsmoe.generation.decoding import Decoding
from rsmoe.geo.georeference import Georeference
from rsmoe.metrics.prediction import Prediction
from rsmoe.model import RSMoE

SAID = "the ship is here [SEG]"
UTM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def asked_of(experts: str, *overrides: str) -> Assistant:
    """A tiny model, whose masks are neither empty nor everything."""
    codec, words = codecs(experts)
    model = tiny_model("temporal.dropout=0.0", *overrides, experts=experts)
    config = tiny_config("temporal.dropout=0.0", *overrides, experts=experts) | {"bands": 3}
    pixels: dict[str, Any] = {"image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    look = Collate(codec=codec, instruction_codec=words, inference=True, **pixels)
    return Assistant(run=OpenRun(model=model, codec=codec, collate=look, config=config, checkpoint={}))


@pytest.fixture(scope="module")
def model() -> Assistant:
    return asked_of("expert=[vqa,objects]", "expert.objects.width=8")


def ground() -> np.ndarray:
    """(150, 110, 3): one thing with a hole over several seams, one that fills a corner, small ones, a speck."""
    picture = np.full((150, 110, 3), 40, np.uint8)
    for rows, columns in (((20, 100), (15, 90)), ((120, 150), (90, 110)), ((5, 13), (5, 13)), ((110, 118), (20, 30))):
        picture[slice(*rows), slice(*columns)] = 220
    picture[40:80, 35:70] = 40
    picture[140:143, 10:13] = 220  # 9 pixels: no thing for this expert
    return picture


def bright(model: RSMoE, codec: Any, batch: Any, **_: Any) -> list[Prediction]:
    """A perfect expert for what is bright, as the objects expert answers."""
    found = []
    for sample in batch.samples:
        logits = np.where(np.asarray(sample.images[0])[..., 0] > 128, 6.0, -6.0).astype(np.float32)
        more = located(1 / (1 + np.exp(-logits))) | {"mask_logits": logits, "expert": "objects"}
        found.append(Prediction(id=sample.id, task="mask", text="every ship [SEG]", weights=(0.3, 0.7), **more))
    return found


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (responder, asked_tiles):
        monkeypatch.setattr(module, "answer_batch", bright)
    yield


def write(
    path: Path, pixels: np.ndarray, *, crs: str | None = "EPSG:32632", transform: Any = UTM, nodata: int | None = None
) -> Path:
    place: dict[str, Any] = {"crs": crs, "transform": rasterio.Affine(*transform)} if crs else {}
    height, width, bands = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype="uint8", nodata=nodata,
        photometric="RGB", **place,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, -1, 0))
    return path


def truth(picture: np.ndarray) -> np.ndarray:
    marked: np.ndarray = picture[..., 0] > 128
    marked[140:143, 10:13] = False
    return marked


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["features"]
    return found


@pytest.mark.parametrize(
    ("experts", "width"),
    [("expert=[vqa,objects]", "expert.objects.width=8"), ("expert=[vqa,mask]", ""), ("expert=[vqa,masks]", "")],
)
def test_one_tile_over_everything_says_what_the_whole_picture_says(
    experts: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real head, of which one tile sees what the whole picture shows."""
    asked = asked_of(experts, *filter(None, [width]))
    run, codec = asked.run, asked.run.codec
    head = run.model.experts[1]
    monkeypatch.setattr(RSMoE, "generate", lambda self, batch, *a, **k: [codec.encode(SAID)] * len(batch))
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    request = Request(id="a", pictures=(picture,), instruction="segment the ship", expert=head.name)
    dates = asked.open(request)
    batch = asked._batch([request], [dates])
    perception = asked._forced(run.model.perceive(batch), [request])
    shift = median_logit(asked, batch, perception)
    bias = getattr(head, "bias", None)
    if bias is not None:
        with torch.no_grad():
            bias.sub_(shift)
    (whole,) = answer_batch(run.model, codec, batch, beams=1, max_new=8, perception=perception)
    assert whole.mask is not None and whole.expert == head.name and 0.02 < whole.mask.mean() < 0.98
    drawn = asked_tiles.AskedTiles(
        run=run, asked=batch.samples[0], decoding=Decoding(max_new=8), beams=1, convention=None,
        routing=perception.routing, size_px=(120, 90), tile_px=120,
    ).draw(dates)  # fmt: skip
    assert drawn.tiles == 1 and drawn.mask is not None
    differ = np.asarray(drawn.mask) != whole.mask
    assert differ.mean() <= 1e-3  # logits that are 0 but for rounding
    assert (drawn.boxes is None) == (whole.boxes_px is None or not len(whole.boxes_px))
    if drawn.boxes is not None:
        np.testing.assert_array_equal(drawn.boxes, whole.boxes_px)
    assert (drawn.scores > 0.5).all() and sorted(drawn.numbers) == list(range(1, len(drawn.scores) + 1))


def median_logit(asked: Assistant, batch: Any, perception: Any) -> float:
    (own,) = answer_batch(asked.run.model, asked.run.codec, batch, beams=1, max_new=8, perception=perception)
    assert own.mask_logits is not None
    return float(np.median(own.mask_logits))


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("tile", [32, 40, 149])
def test_a_thing_across_seams_is_one_thing(
    tile: int, windows: bool, model: Assistant, perfect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = ground()
    path = write(tmp_path / "a.tif", picture)
    if windows:
        monkeypatch.setattr("rsmoe.geo.dates.WHOLE_PIXELS", 100)
        monkeypatch.setattr("rsmoe.geo.things._STRIP_PIXELS", 110 * 30)
        monkeypatch.setattr("rsmoe.evaluation.map_tiles._STRIP_BYTES", 20_000)
    reply: Reply = model.ask(path, "mark every ship", tile=tile)
    marked = truth(picture)
    assert reply.answered is not None and reply.answered.tile_px == tile
    np.testing.assert_array_equal(np.asarray(reply.answered.mask), marked)
    assert any(f"mask and boxes: {reply.answered.tiles} tiles of {tile} px" in note for note in reply.notes)
    assert write_mask(reply, tmp_path) == ["mask.tif", "mask.geojson", "mask_crs.geojson", "mask.qml", "mask_crs.qml"]
    assert write_boxes(reply, tmp_path) == ["boxes.geojson", "boxes_crs.geojson", "boxes.qml", "boxes_crs.qml"]
    found = sorted(features(tmp_path / "mask_crs.geojson"), key=lambda f: f["properties"]["target"])
    assert [f["properties"]["pixels"] for f in found] == [80 * 75 - 40 * 35, 600, 80, 64]
    assert [len(f["geometry"]["coordinates"]) for f in found] == [2, 1, 1, 1]  # the hole stays
    first = found[0]["properties"]
    assert (first["name"], first["expert"], first["prompt"]) == ("every ship", "objects", "mark every ship")
    assert first["area_m2"] == pytest.approx(4600 * 100, rel=2e-3) and first["score"] > 0.99
    shapes = [(f["geometry"], 1) for f in found]
    again = rasterize(shapes, out_shape=marked.shape, transform=rasterio.Affine(*UTM))
    np.testing.assert_array_equal(again, marked)
    with rasterio.open(tmp_path / "mask.tif") as file:
        np.testing.assert_array_equal(file.read(1), marked)
    boxes = [f["properties"]["box_px"] for f in features(tmp_path / "boxes_crs.geojson")]
    assert boxes == [[15, 20, 90, 100], [90, 120, 110, 150], [20, 110, 30, 118], [5, 5, 13, 13]]


@pytest.mark.parametrize("name", ["north up", "south up", "rotated", "degrees", "local"])
def test_things_lie_where_the_raster_says(name: str, model: Assistant, perfect: None, tmp_path: Path) -> None:
    cos, sin = 10 * np.cos(np.deg2rad(30)), 10 * np.sin(np.deg2rad(30))
    crs, transform = {
        "north up": ("EPSG:32632", UTM),
        "south up": ("EPSG:32632", (10.0, 0.0, 5e5, 0.0, 10.0, 5e6)),
        "rotated": ("EPSG:32632", (cos, sin, 5e5, sin, -cos, 5e6)),
        "degrees": ("EPSG:4326", (1e-4, 0.0, 9.0, 0.0, -1e-4, 45.0)),
        "local": ('LOCAL_CS["site",UNIT["metre",1]]', UTM),
    }[name]  # fmt: skip
    picture = ground()
    path = write(tmp_path / "a.tif", picture, crs=crs, transform=transform)
    reply = model.ask(path, "mark every ship", tile=48)
    names = write_mask(reply, tmp_path) + write_boxes(reply, tmp_path)
    assert ("mask.geojson" in names) == (name != "local") and "mask_crs.geojson" in names
    found = features(tmp_path / "mask_crs.geojson")
    again = rasterize(
        [(f["geometry"], 1) for f in found], out_shape=picture.shape[:2], transform=rasterio.Affine(*transform)
    )
    np.testing.assert_array_equal(again, truth(picture))
    boxes = features(tmp_path / "boxes_crs.geojson")
    ring = np.array(boxes[0]["geometry"]["coordinates"][0])
    pixels = Georeference(crs, transform, 110, 150).to_pixel(ring)
    np.testing.assert_allclose([*pixels.min(0), *pixels.max(0)], [15, 20, 90, 100], atol=1e-3)
    if name != "local":
        for file in ("mask.geojson", "boxes.geojson"):
            for feature in features(tmp_path / file):
                outline = np.array(feature["geometry"]["coordinates"][0])
                assert ((outline[:, 0] > 8) & (outline[:, 0] < 10) & (outline[:, 1] > 44)).all()
                x, y = outline.T
                assert x[:-1] @ y[1:] > x[1:] @ y[:-1]  # RFC 7946: counterclockwise
        assert found[0]["properties"]["area_m2"] > 0


def test_islands_of_data_hold_things_and_nothing_else_does(model: Assistant, perfect: None, tmp_path: Path) -> None:
    picture = ground()
    picture[60:] = np.where(picture[60:] > 128, 220, 40)
    known = np.zeros((150, 110), bool)
    known[:45, :50], known[112:, 60:] = True, True
    picture[~known] = 0
    reply = model.ask(write(tmp_path / "a.tif", picture, nodata=0), "mark every ship", tile=32)
    assert reply.answered is not None and reply.answered.tiles < 20
    np.testing.assert_array_equal(np.asarray(reply.answered.mask), truth(picture))
    write_mask(reply, tmp_path)
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert ((file.read(1) == 255) == ~known).all()
    assert len(features(tmp_path / "mask.geojson")) == 3


def test_without_a_crs_places_are_pixels_and_a_window_smaller_than_a_tile_is_one_picture(
    model: Assistant, perfect: None, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tif", ground(), crs=None)
    reply = model.ask(path, "mark every ship", tile=64)
    assert write_mask(reply, tmp_path / "px") == ["mask.tif", "mask_px.geojson", "mask.qml", "mask_px.qml"]
    assert "area_m2" not in features(tmp_path / "px" / "mask_px.geojson")[0]["properties"]
    part = {"window": [0, 0, 60, 40]}
    one, other = (model.ask(path, "mark every ship", tile=tile, raster=part) for tile in (60, -1))
    assert one.answered is None and one.notes == other.notes
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.mask.sum() == 64 + 20 * 45
    assert one.mask_scores == other.mask_scores and one.box_scores == one.mask_scores
    assert all(score > 0.99 for score in one.mask_scores)


def test_masks_of_an_expert_without_logits_vote(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    def hard(*given: Any, **more: Any) -> list[Prediction]:
        return [replace(own, mask_logits=None, expert="of a user") for own in bright(*given, **more)]

    for module in (responder, asked_tiles):
        monkeypatch.setattr(module, "answer_batch", hard)
    reply = model.ask(ground()[:120], "mark every ship", tile=40)
    expected = truth(ground()[:120])
    assert reply.answered is not None and reply.answered.scores.min() == 1
    np.testing.assert_array_equal(reply.answered.mask, expected)


def test_a_request_for_words_is_not_asked_of_tiles(
    model: Assistant, perfect: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    def words(own: RSMoE, codec: Any, batch: Any, **_: Any) -> list[Prediction]:
        batches.append(len(batch))
        return [Prediction(id="a", task="vqa", text="two", weights=(0.9, 0.1), expert="vqa")] * len(batch)

    for module in (responder, asked_tiles):
        monkeypatch.setattr(module, "answer_batch", words)
    assert model.ask(ground(), "how many ?", tile=32).answered is None and batches == [1]


def test_boxes_in_words_are_joined_over_seams(
    model: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An expert that writes what it sees, in percent of the tile, or that there is nothing."""

    def written(own: RSMoE, codec: Any, batch: Any, **_: Any) -> list[Prediction]:
        found = []
        for sample, plain in zip(batch.samples, bright(own, codec, batch), strict=True):
            height, width = sample.images[0].shape[:2]
            boxes = 100 * plain.boxes_px / np.array([width, height] * 2)
            text = " ".join("{" + "".join(f"<{round(v)}>" for v in box.tolist()) + "}" for box in boxes)
            found.append(replace(plain, text=text or "none", mask=None, masks=(), boxes_px=None, mask_logits=None))
        return found

    for module in (responder, asked_tiles):
        monkeypatch.setattr(module, "answer_batch", written)
    monkeypatch.setattr(asked_tiles, "confidences", lambda model, codec, batch, *a: [-0.5] * len(batch))
    reply = model.ask(write(tmp_path / "a.tif", ground()), "find every ship", tile=50, boxes="minigpt")
    assert reply.answered is not None and reply.mask is None and len(reply.boxes) == 4
    expected = np.array([[15, 20, 90, 100], [90, 120, 110, 150], [20, 110, 30, 118], [5, 5, 13, 13]])
    nearest = np.abs(reply.boxes[:, None] - expected).max(-1)
    assert nearest.min(1).max() <= 1 and sorted(nearest.argmin(1)) == [0, 1, 2, 3]
    assert reply.box_scores == pytest.approx([np.exp(-0.5)] * 4)
    (name,) = {f["properties"]["name"] for f in features_of(reply, tmp_path)}
    assert name == "object" and any(note.startswith("boxes: ") for note in reply.notes)


def features_of(reply: Reply, folder: Path) -> list[dict[str, Any]]:
    write_boxes(reply, folder)
    return features(folder / "boxes.geojson")


def test_every_tile_has_the_experts_of_the_whole_picture(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = asked_tiles.answer_batch

    def heard(own: RSMoE, codec: Any, batch: Any, **given: Any) -> list[Prediction]:
        seen.append((given["perception"].routing.weights, [s.instruction for s in batch.samples]))
        return real(own, codec, batch, **given)

    monkeypatch.setattr(asked_tiles, "answer_batch", heard)
    request = Request(id="a", pictures=(ground(),), instruction="mark every ship", expert="objects")
    (reply,) = model.answer([request], tile=64, max_new=2)
    assert reply.answered is not None and len(seen) == reply.answered.tiles // 16 + 3
    for weights, words in seen:
        assert (weights == torch.tensor([0.0, 1.0])).all() and set(words) == {"mark every ship"}


def test_the_command_writes_layers_and_shows_one_bar(
    perfect: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tmp_path / "run", "temporal.dropout=0.0", "expert.objects.width=8", experts="expert=[vqa,objects]")
    titles: list[tuple[str, int]] = []
    from rsmoe.evaluation import map_tiles

    real = map_tiles.watched

    def watched(title: str, total: int, console: Console | None) -> Any:
        titles.append((title, total))
        return real(title, total, console)

    monkeypatch.setattr(map_tiles, "watched", watched)
    path, out = write(tmp_path / "a.tif", ground()), tmp_path / "out"
    rsmoe.predict.cli(
        [f"checkpoint={run}", f"image={path}", "instruction=mark every ship", "tile=48", f"out={out}", "layers=gpkg"]
    )
    assert titles == [("answer, tiles", 12)]
    told = json.loads((out / "answer.json").read_text())
    names = [
        "mask.tif",
        "mask.geojson",
        "mask_crs.geojson",
        "mask.qml",
        "mask_crs.qml",
        "boxes.geojson",
        "boxes_crs.geojson",
    ]
    names += ["boxes.qml", "boxes_crs.qml", "layers.gpkg"]
    assert told["files"] == names and len(told["boxes_px"]) == 4
    assert "mask and boxes: 12 tiles of 48 px" in capsys.readouterr().out
    rsmoe.predict.cli(
        [f"checkpoint={run}", f"image={path}", "instruction=mark it", "tile=48", f"out={out / 'mask.png'}", "beams=1"]
    )
    with rasterio.open(out / "mask.png") as file:
        np.testing.assert_array_equal(file.read(1) > 0, truth(ground()))


MEASURED = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, rsmoe
from rsmoe.evaluation import asked_tiles
from rsmoe.evaluation.reply_files import write_reply
from rsmoe.model import RSMoE
from rich.console import Console
run, path, out, side = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
model = rsmoe.load(run, device="cpu")
said = model.run.codec.encode("the ship is here [SEG]")
RSMoE.generate = lambda self, batch, *given, **more: [said] * len(batch)
real = asked_tiles.answer_batch
def bright(own, codec, batch, **given):  # what the model does, and things everywhere
    seen = (sample.images[0][::8, ::8, 0].astype(np.float32) - 128 for sample in batch.samples)
    return [replace(p, mask_logits=mask) for p, mask in zip(real(own, codec, batch, **given), seen)]
asked_tiles.answer_batch = bright
peaks = []
for part in (2304, side):
    reply = model.ask(path, "mark it", tile=512, beams=1, max_new=2, raster={"window": [0, 0, part, part]})
    write_reply(reply, out, titles=["a"], cover_classes=(), change_classes=(), console=Console(quiet=True))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
assert reply.answered is not None and len(reply.answered.scores) > 20
print(*peaks)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in kilobytes")
def test_memory_does_not_grow_with_the_picture(tmp_path: Path) -> None:
    """A process of its own: 4096 x 4096 pixels against 2304 x 2304, both thinned for the words."""
    run = tiny_run(tmp_path / "run", "temporal.dropout=0.0", "expert.objects.width=8", experts="expert=[vqa,objects]")
    side, rng = 4096, np.random.default_rng(0)
    options: dict[str, Any] = {"driver": "GTiff", "count": 3, "dtype": "uint8", "photometric": "RGB", "tiled": True}
    options |= {"crs": "EPSG:32632", "transform": rasterio.Affine(*UTM), "width": side, "height": side}
    with rasterio.open(tmp_path / "a.tif", "w", compress="deflate", **options) as file:
        coarse = rng.integers(0, 255, (3, side // 64, side // 64), dtype=np.uint8)
        file.write(coarse.repeat(64, axis=1).repeat(64, axis=2))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(run), str(tmp_path / "a.tif"), str(tmp_path / "out"), str(side)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    small, large = map(float, done.stdout.split())
    # 108 MB as measured; read at once it alone is 50 MB, and its probabilities 134 MB
    assert large - small < 150, f"{small:.0f} MB, then {large:.0f} MB"

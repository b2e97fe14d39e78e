"""``ask(region=)`` and ``rsmoe.predict region=``: pixels, polygons, map coordinates, and what cannot be one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from support.checkpoints import tiny_run

import rsmoe
import rsmoe.predict
from rsmoe.errors import UserError
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.request_list import read_requests

CALM = ("temporal.dropout=0.0",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("regions"), *CALM, "regions=pooled", steps=2)


@pytest.fixture(scope="module")
def model(run: Path) -> Assistant:
    return rsmoe.load(run, device="cpu")


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)


def test_a_region_is_in_the_words_and_in_the_prefix(model: Assistant) -> None:
    options: dict[str, Any] = {"boxes": "skyeye", "max_new": 2, "beams": 1}
    reply = model.ask(picture(), "What is in this region?", region=[8, 4, 40, 20], **options)
    assert reply.instruction == "What is in this region? {<10><10><50><50>}"
    inside = model.ask(picture(), "Describe <region>.", region=[[8, 4], [40, 4], [40, 20], [8, 20]], **options)
    assert inside.instruction == "Describe {<10><10><50><50>}."
    assert model.ask(picture(), region=[8, 4, 40, 20], **options).instruction.startswith("Describe the thing in {")
    plain = model.ask(picture(), "Describe {<10><10><50><50>}.", **options)
    assert inside.prompt_tokens == plain.prompt_tokens + 1, "one token of the region beside the same words"


def test_a_polygon_in_map_coordinates_is_the_pixels_below_it(model: Assistant, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=80, height=40, count=3, dtype="uint8", photometric="RGB",
        crs="EPSG:32632", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(picture().transpose(2, 0, 1))
    place = model.open(next(iter(requests_of(path)))).georeference
    assert place is not None
    ring = place.to_lonlat(np.array([[8, 4], [40, 4], [40, 20], [8, 20], [8, 4]])).tolist()
    geometry = {"type": "Polygon", "coordinates": [ring]}
    for given in (
        geometry,
        {"type": "Feature", "geometry": geometry},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": geometry}]},
    ):
        reply = model.ask(path, "What is it?", region=given, boxes="skyeye", max_new=2, beams=1)
        assert reply.instruction == "What is it? {<10><10><50><50>}"
    with pytest.raises(UserError, match="expected one polygon"):
        model.ask(path, region={"type": "Point", "coordinates": [0, 0]}, boxes="skyeye")
    with pytest.raises(UserError, match="outside of its picture"):
        far = {"type": "Polygon", "coordinates": [[[8, 1], [8, 2], [9, 2], [8, 1]]]}
        model.ask(path, region=far, boxes="skyeye")


def requests_of(path: Path) -> Any:
    from rsmoe.evaluation.request_list import list_requests

    return list_requests(str(path), dates=None, instruction=None)


def test_what_is_no_region_is_refused(model: Assistant, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match=r"outside of its picture.*80 x 40"):
        model.ask(picture(), region=[90, 4, 99, 20], boxes="skyeye")
    with pytest.raises(UserError, match="no georeference"):
        model.ask(picture(), region={"type": "Polygon", "coordinates": []}, boxes="skyeye")
    with pytest.raises(UserError, match="Give boxes="):
        model.ask(picture(), region=[8, 4, 40, 20])
    without = rsmoe.load(tiny_run(tmp_path_factory.mktemp("plain"), *CALM, steps=1), device="cpu")
    with pytest.raises(UserError, match="trained without regions"):
        without.ask(picture(), region=[8, 4, 40, 20], boxes="skyeye")


def test_a_region_of_the_command_line_and_of_a_list(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["predict", *words, *more])
        code: Any = 0
        try:
            rsmoe.predict.cli()
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr().err
        return (code, told) if isinstance(code, int) else (1, f"{told}{code}")

    Image.fromarray(picture()).save(tmp_path / "a.png")
    words = [f"checkpoint={run}", f"image={tmp_path / 'a.png'}", "boxes=skyeye", "max_new=2", "beams=1", "device=cpu"]
    out = tmp_path / "out"
    code, said = predict("instruction='What is it?'", "region=[8,4,40,20]", f"out={out}")
    assert code == 0, said
    code, said = predict("region=[40,4,8,20]", f"out={out}")
    assert code == 1 and "corners out of order" in said and "Traceback" not in said
    (tmp_path / "a.jsonl").write_text(json.dumps({"image": "a.png", "region": [8, 4, 40, 20]}))
    (request,) = read_requests(tmp_path / "a.jsonl", instruction=None)
    assert request.region == [8, 4, 40, 20]

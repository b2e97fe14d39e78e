"""Maps of an evaluation that are drawn in tiles, as `rsmoe.predict` draws them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.models import codecs, requests, tiny_model

from rsmoe.data import Sample
from rsmoe.data.datamodule import RSDataModule
from rsmoe.evaluation.evaluate_splits import Outcome, evaluate
from rsmoe.evaluation.map_tiles import map_tiles
from rsmoe.evaluation.objective import by_name
from rsmoe.geo.dates import Dates
from rsmoe.model import RSMoE

COVER = ("maps=[land_cover,change]", "maps.land_cover.classes=[ground,road,ship]", "maps.land_cover.channels=8")


@pytest.fixture(scope="module")
def model() -> RSMoE:
    return tiny_model(*COVER)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (70, 50, 3), dtype=np.uint8)
    truth = (np.arange(70)[:, None] // 30 + np.zeros((1, 50))).astype(np.uint8)
    given = {s.task: s for s in requests()}
    plain = {"class_map": truth, "classes": ("ground", "road", "ship")}
    asked = [replace(given[task], id=task, images=(image,), **plain) for task in ("caption", "vqa")]
    pair = replace(given["change_caption"], images=(image, image[::-1].copy()))
    return [*asked, pair]


def outcome(model: RSMoE, samples: list[Sample], **options: int | None) -> tuple[Outcome, RSDataModule]:
    codec, words = codecs()
    pixels = {"image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, "eval_batch_size": 2}
    data = RSDataModule(train={"a": samples}, test={"a": samples}, codec=codec, instruction_codec=words, **pixels)  # type: ignore[arg-type]
    metrics = {"miou": {"_target_": "rsmoe.metrics.regions.class_map_iou.ClassMapIoU"}}
    (found,) = evaluate(
        model=model, codec=codec, data=data, splits=["test"], beams=1, max_new=2, metrics=metrics, draws=0, **options
    )  # fmt: skip
    return found, data


def test_tiles_are_those_of_predict_and_are_scored(model: RSMoE, samples: list[Sample]) -> None:
    found, data = outcome(model, samples, tile=32)
    images = samples[0].images
    dates = Dates(images=images, valid=np.ones((70, 50), bool), georeference=None, notes=())
    drawn = np.asarray(map_tiles(model, data.eval_collate, dates, name="land_cover", tile_px=32).kinds)
    first, second, pair = found.predictions
    np.testing.assert_array_equal(first.outputs["land_cover"], drawn)
    assert second.outputs["land_cover"] is first.outputs["land_cover"]  # one picture, drawn once
    assert "land_cover" not in pair.outputs and pair.change_map is not None and pair.change_map.shape == (70, 50)
    result = by_name([found])["test/a/miou/pixel_accuracy"].value
    assert result == pytest.approx(100 * float((drawn == samples[0].class_map).mean()))


def test_without_tiles_a_map_is_of_the_whole_picture(model: RSMoE, samples: list[Sample]) -> None:
    whole, tiled = outcome(model, samples)[0], outcome(model, samples, tile=32)[0]
    first, other = (o.predictions[0].outputs["land_cover"] for o in (whole, tiled))
    assert first.shape == other.shape and (first != other).any()
    assert [p.text for p in whole.predictions] == [p.text for p in tiled.predictions]

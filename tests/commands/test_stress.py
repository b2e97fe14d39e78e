"""Disturbed second dates, classical change detection, and the study that puts a model beside them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from support.models import codecs, collate, tiny_model

from rsmoe.commands.change_detection import binary_pairs, classical_maps
from rsmoe.commands.stress import StressTest, temporal_name
from rsmoe.data.change.facts import PairFacts, facts_of_masks
from rsmoe.data.change.pairs import ChangePairs
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.data.transforms.perturb import PERTURBATIONS
from rsmoe.errors import UserError
from rsmoe.figures.change_detection_sheet import draw_maps
from rsmoe.figures.stress_plot import plot_stress
from rsmoe.metrics.change.map_iou import ChangeMapOverlap
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import tally_results
from rsmoe.studies.classical_change import CLASSICAL, change_vectors, ir_mad, otsu, pca_kmeans
from rsmoe.studies.stress_pairs import disturbed, stress_pairs

SIDE = 32
SHIFT = replace(PERTURBATIONS["misregistration"], strengths=(2.0,))


def picture(seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Smooth colours, so that a shift of a pixel is a small difference."""
    noise = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic", align_corners=False)[0]
    pixels: np.ndarray = (40 + 170 * smooth.clamp(0, 1)).permute(1, 2, 0).to(torch.uint8).numpy()
    return pixels


def facts(number: int, *, box: tuple[int, int, int, int] | None, side: int = SIDE) -> PairFacts:
    """A pair in which a white box has appeared, or nothing."""
    before = picture(number, side)
    after, mask = before.copy(), np.zeros((side, side), np.uint8)
    if box is not None:
        x1, y1, x2, y2 = box
        after[y1:y2, x1:x2], mask[y1:y2, x1:x2] = 255, 1
    return facts_of_masks(
        {"building": mask == 1}, id=f"p{number}", images=(before, after), source="boxes", class_map=mask,
        classes=("no change", "building"), captions=("a building is built ." if box else "there is no difference .",),
    )  # fmt: skip


class Boxes(ChangePairs):
    """Pairs 0, 2, 4 ... are changed."""

    def __init__(self, pairs: int, *, always: bool = False, side: int = SIDE) -> None:
        self._always, self._side = always, side
        super().__init__(name="boxes", split="test", kinds=("caption", "presence"), pairs=pairs)

    def facts(self, pair: int) -> PairFacts:
        return facts(pair, box=(8, 10, 18, 20) if self._always or pair % 2 == 0 else None, side=self._side)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_disturbance_grows_with_its_strength_and_is_the_same_again(name: str) -> None:
    perturbation, image = PERTURBATIONS[name], picture(3)
    image[:, 10:20, 1] = 200  # some of it is green
    same, known = perturbation(image, strength=0.0, seed="a")
    assert same is image and known.all()
    gaps = []
    for strength in perturbation.strengths:
        changed, known = perturbation(image, strength=strength, seed="a")
        assert changed.shape == image.shape and changed.dtype == np.uint8 and known.shape == image.shape[:2]
        np.testing.assert_array_equal(changed, perturbation(image, strength=strength, seed="a")[0])
        gaps.append(np.abs(changed.astype(float) - image)[known].mean())
    assert gaps[0] > 0 and known.all() == (name not in ("misregistration", "rotation"))
    if not perturbation.levels:
        assert gaps == sorted(gaps)
    with pytest.raises(UserError, match="expected 0 or more"):
        perturbation(image, strength=-1.0, seed="a")


def test_haze_blur_and_noise_by_their_definitions() -> None:
    image = picture()
    hazy = PERTURBATIONS["haze"](image, strength=0.5, seed="a")[0]
    np.testing.assert_allclose(hazy[..., 0], 0.5 * image[..., 0] + 0.5 * 0.80 * 255, atol=1)
    dot = np.zeros((SIDE, SIDE, 1), np.uint8)
    dot[16, 16] = 255
    blurred = PERTURBATIONS["blur"](dot, strength=1.0, seed="a")[0][..., 0].astype(float)
    assert blurred[16, 16] == pytest.approx(255 / (2 * np.pi), rel=0.03) and blurred.sum() == pytest.approx(
        255, rel=0.1
    )
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = PERTURBATIONS["noise"](grey, strength=8.0, seed="a")[0].astype(float)
    assert noise.std() == pytest.approx(8, rel=0.05) and noise.mean() == pytest.approx(128, abs=0.5)


def test_bands_are_dropped_and_swapped() -> None:
    image = picture()
    dropped = PERTURBATIONS["bands"](image, strength=3.0, seed="a")[0]
    assert sorted(int(dropped[..., c].std() == 0) for c in range(3)) == [0, 0, 1]
    np.testing.assert_array_equal(PERTURBATIONS["bands"](image, strength=4.0, seed="a")[0], image[..., ::-1])
    with pytest.raises(UserError, match="1, 2, 3, 4"):
        PERTURBATIONS["bands"](image, strength=2.5, seed="a")


def test_a_shift_is_bilinear_and_hides_what_left_the_picture() -> None:
    image = picture(1)
    shift = PERTURBATIONS["misregistration"]
    moved, known = shift(image, strength=4.0, seed="a")
    places = ((4 * np.sin(angle), 4 * np.cos(angle), 0) for angle in np.linspace(0, 2 * np.pi, 721))
    shifted = (ndimage.shift(image.astype(float), place, order=1, mode="nearest") for place in places)
    gaps = [np.abs(picture - moved).mean() for picture in shifted]
    assert min(gaps) < 0.5 < np.median(gaps), "a shift of four pixels in some direction"
    assert 2 * SIDE * 2 < (~known).sum() < 2 * SIDE * 6
    turned, seen = PERTURBATIONS["rotation"](image, strength=3.0, seed="a")
    assert seen[8:24, 8:24].all() and not seen.all()
    np.testing.assert_allclose(turned[15:17, 15:17].astype(float), image[15:17, 15:17], atol=6)


def test_pairs_are_tiled_spread_and_given_unchanged_ones() -> None:
    pairs = stress_pairs(Boxes(4), count=3)
    assert [p.id for p in pairs] == ["p0", "p1", "p2"] and [p.changed for p in pairs] == [True, False, True]
    added = stress_pairs(Boxes(2, always=True), count=2)
    assert [p.id for p in added] == ["p0", "p1", "p0:itself", "p1:itself"]
    assert not added[2].changed and added[2].images[1] is added[2].images[0] and not np.any(added[2].class_map)
    tiles = stress_pairs(Boxes(1, always=True, side=40), count=9, tile=16)
    assert [t.id for t in tiles[:4]] == ["p0@0,0", "p0@0,16", "p0@16,0", "p0@16,16"] and len(tiles) == 8
    assert sum(np.asarray(t.class_map).sum() for t in tiles) == 100 and tiles[0].fraction == 48 / 256
    assert not any(t.captions for t in tiles), "captions are about the whole"
    with pytest.raises(UserError, match="smaller than tile=64"):
        stress_pairs(Boxes(1), count=1, tile=64)
    with pytest.raises(UserError, match="one pair or more"):
        stress_pairs(Boxes(1), count=0)


def test_what_the_second_date_does_not_show_is_unknown() -> None:
    shift = PERTURBATIONS["misregistration"]
    pair = disturbed(facts(0, box=(12, 12, 20, 20)), shift, 8.0)
    assert pair is not None and isinstance(pair.class_map, np.ndarray)
    hidden = pair.class_map == 255
    assert (
        hidden.any()
        and (pair.class_map[~hidden] == np.asarray(facts(0, box=(12, 12, 20, 20)).class_map)[~hidden]).all()
    )
    corners = ((0, 0, 3, 3), (29, 0, 32, 3), (0, 29, 3, 32), (29, 29, 32, 32))
    gone = [disturbed(facts(0, box=box), shift, 8.0) for box in corners]
    assert 1 <= sum(pair is None for pair in gone) <= 3, "half of a change has to be in the picture"
    assert disturbed(facts(1, box=None), shift, 8.0) is not None


def test_a_study_has_every_number_at_every_strength(tmp_path: Path) -> None:
    model, (codec, _) = tiny_model("maps=[change]", "maps.change.kinds=1"), codecs()
    study = StressTest(
        pairs=stress_pairs(Boxes(6), count=6), perturbations=[replace(PERTURBATIONS["haze"], strengths=(0.5,)), SHIFT],
        text=2, split="test", batch_size=8, max_new=2, draws=20,
    )  # fmt: skip
    rows = study.run(model, codec, collate(inference=True))
    places = {(r["perturbation"], r["strength"]) for r in rows}
    assert places == {("none", 0.0), ("haze", 0.5), ("misregistration", 2.0)}
    for metric, n in (("change_map/iou", 6), ("change_map/false_alarm", 3), ("change_vqa/accuracy/presence", 2)):
        own = [r for r in rows if r["metric"] == metric]
        assert len(own) == len(places) and all(r["low"] <= r["value"] <= r["high"] for r in own)
        assert own[0]["n"] == n
    assert {r["protocol"] for r in rows} == {
        "change/map@1", "change-vqa/changechat@1", "change-caption/whitespace@1"
    }  # fmt: skip
    drawn = plot_stress(tmp_path / "curves.png", [{"temporal": "csrm", **r} for r in rows])
    assert np.asarray(Image.open(drawn).convert("L")).std() > 10
    silent = replace(study, text=0, perturbations=[SHIFT]).run(model, codec, collate(inference=True))
    assert {r["metric"].split("/")[0] for r in silent} == {"change_map"}
    blind = replace(study, perturbations=[SHIFT]).run(tiny_model(), codec, collate(inference=True))
    assert {r["metric"].split("/")[0] for r in blind} == {"change_vqa", "change_caption"}, "a model without a map"


def test_no_curve_leaves_its_axes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("rsmoe.figures.stress_plot.save_figure", lambda figure, path: drawn.append(figure) or path)
    metric = "change_caption/cider_d/changed"
    points = [("none", 0.0, 40.0), ("illumination", 0.5, 30.0), ("haze", 0.5, 140.0)]
    plot_stress(
        tmp_path / "curves.png",
        [{"temporal": "csrm", "metric": metric, "perturbation": p, "strength": s, "value": v} for p, s, v in points],
    )
    assert all(axes.get_ylim()[0] == 0 and axes.get_ylim()[1] >= 140 for axes in drawn[0].axes)


def test_runs_are_called_by_their_temporal_module() -> None:
    node = {"_target_": "rsmoe.temporal.csrm.CSRM", "variant": "paper"}
    assert temporal_name({"temporal": node}) == "csrm paper"
    assert temporal_name({"temporal": node | {"variant": "released"}}) == "csrm"
    assert (
        temporal_name({"temporal": {"_target_": "rsmoe.temporal.cross_attention.CrossAttention"}}) == "cross attention"
    )


# Classical methods.


def test_otsu_is_the_best_of_all_thresholds() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(10, 2, 900), rng.normal(30, 4, 100)])
    found = otsu(values)

    def between(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2) if len(low) and len(high) else 0.0

    best = max(between(t) for t in np.linspace(values.min(), values.max(), 2000)[1:-1])
    assert between(found) == pytest.approx(best, rel=5e-3) and 15 < found < 25


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_methods_find_a_box_under_another_light(name: str) -> None:
    pair = facts(0, box=(10, 12, 22, 24), side=48)
    before, after = (np.asarray(image) for image in pair.images)
    noise = np.random.default_rng(0).normal(0, 2, after.shape)
    darker = (0.7 * after + 20 + noise).round().clip(0, 255).astype(np.uint8)
    found, true = CLASSICAL[name](before, darker), np.asarray(pair.class_map) > 0
    assert found.shape == true.shape and found.dtype == bool
    assert (found & true).sum() / (found | true).sum() > 0.6


@pytest.mark.parametrize(("name", "library"), [("CVA + Otsu", "skimage.filters"), ("PCA + k-means", "sklearn.cluster")])
def test_classical_methods_say_what_to_install(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    with pytest.raises(UserError, match="pip install scikit-image scikit-learn"):
        CLASSICAL[name](picture, picture[::-1])


def test_ir_mad_does_not_see_a_linear_change_of_the_bands() -> None:
    before = np.random.default_rng(0).integers(0, 120, (24, 24, 3)).astype(np.uint8)
    after = before.copy()
    after[4:10, 4:10] = 255 - after[4:10, 4:10, ::-1]
    mixed = np.stack([before[..., 2], before[..., 0] + 30, 2 * before[..., 1]], axis=-1)
    mixed[4:10, 4:10] = after[4:10, 4:10]
    true = np.zeros((24, 24), bool)
    true[4:10, 4:10] = True
    assert (ir_mad(before, mixed) & true).sum() / (ir_mad(before, mixed) | true).sum() > 0.8
    assert (change_vectors(before, mixed) & true).sum() / (change_vectors(before, mixed) | true).sum() < 0.5
    same = np.full((16, 16, 3), 7, np.uint8)
    assert not change_vectors(same, same).any() and not pca_kmeans(same, same).any() and not ir_mad(same, same).any()


def test_maps_are_scored_once_with_intervals_and_drawn(tmp_path: Path) -> None:
    samples = [Boxes(4)[2 * i] for i in range(4)]
    pairs = binary_pairs(samples, limit=3)  # type: ignore[arg-type]  # a list has all that a data set needs
    assert [pair.id for pair in pairs] == [samples[i].id for i in spread(4, 3)]
    maps = classical_maps(pairs)
    assert set(maps) == {"all unchanged", "all changed", *CLASSICAL}
    metric = ChangeMapOverlap()
    given = [
        (s, Prediction(id=s.id, task=s.task, change_map=m)) for s, m in zip(pairs, maps["CVA + Otsu"], strict=True)
    ]
    tally = metric.tally(given)
    assert tally is not None
    results = tally_results("change_map", metric, tally, protocol_prefix="", split="test", draws=50)
    found = {r.metric: r for r in results}
    values = {name: 100 * value for name, value in tally.values().items()}
    assert found["change_map/iou"].value == values["iou"] > 60 and found["change_map/iou"].n == 3
    assert found["change_map/miou"].n == 2 and found["change_map/false_alarm"].n == 1
    low, high = found["change_map/iou"].low, found["change_map/iou"].high
    assert low is not None and high is not None and low <= values["iou"] <= high
    drawn = draw_maps(tmp_path / "maps.png", pairs, {"CVA": maps["CVA + Otsu"], "nothing": maps["all unchanged"]})
    assert np.asarray(Image.open(drawn).convert("L")).std() > 20
    single = Sample(id="one", images=(picture(),), instruction="?", responses=("!",), task="caption", source="x")
    with pytest.raises(UserError, match="no pair with a map"):
        binary_pairs([single])  # type: ignore[arg-type]


@pytest.mark.real_data
def test_real_pairs_can_be_stressed_and_detected() -> None:
    from rsmoe.config import compose
    from rsmoe.parts import instantiate

    root = os.environ["RSMOE_DATA"]
    data = instantiate(compose(["data=levir_cd"], name="stress").data, root=f"{root}/levir_cd", split="test")
    pairs = stress_pairs(data, count=8, tile=64)
    assert len(pairs) >= 8 and all(np.asarray(p.images[0]).shape == (64, 64, 3) for p in pairs)
    assert 0 < sum(p.changed for p in pairs) < len(pairs)
    real = binary_pairs(data, limit=1)
    assert 0 < CLASSICAL["CVA + Otsu"](*(np.asarray(Image.open(p).convert("RGB")) for p in real[0].images)).mean() < 0.6  # type: ignore[arg-type]

"""The map of classes: what it measures, what it tells, which words bring it along, and where its truth comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy import ndimage
from support.models import FIVE_KINDS, batch_of, codecs, tiny_model
from support.readers import write
from support.release_captions import rsicap
from torch import Tensor

from rsmoe.data.collate import Collate
from rsmoe.data.corpus import absent_from, build_corpus
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.readers.rsicap import RSICap
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.prediction_lines import from_row, to_line
from rsmoe.maps import MapEvidence, MapTokens
from rsmoe.maps.land_cover import LandCover
from rsmoe.maps.noun_grounding import NounGrounding
from rsmoe.maps.region_tokens import MEASURES, class_regions, mean_over, measures, without_specks
from rsmoe.scenes.class_map import MAP_CLASSES, class_map
from rsmoe.scenes.generated import rsieval
from rsmoe.scenes.generator import SceneGenerator

WIDTHS = (8, 16)
NAMES = ("ground", "water", "ship", "storage tank")
COVER = (
    "maps=[land_cover]",
    "noun_grounding=true",
    "maps.land_cover.classes=[ground,road,ship,tank]",
    "maps.land_cover.channels=8",
    "maps.land_cover.shown=2",
)


def land_cover(**more: Any) -> LandCover:
    torch.manual_seed(0)
    return LandCover(**({"pyramid_widths": WIDTHS, "width": 32, "bands": 3, "classes": NAMES, "channels": 16} | more))


def pyramid(pictures: int = 2, seed: int = 1) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(pictures, w, s, s, generator=generator) for w, s in zip(WIDTHS, (12, 6), strict=True)]]


def told(module: LandCover, evidence: MapEvidence, pixels: Tensor, truth: Tensor | None = None) -> MapTokens:
    return module.tokens(evidence, pixels=pixels[:, None], truth=truth)


def drawn(classes: np.ndarray) -> MapEvidence:
    """Evidence that is sure of a map (h, w)."""
    logits = 50.0 * torch.nn.functional.one_hot(torch.from_numpy(classes).long(), len(NAMES)).permute(2, 0, 1)[None]
    return MapEvidence(logits=logits.float(), features=torch.zeros(1, 16, *classes.shape))


def test_shapes_and_an_empty_batch() -> None:
    module = land_cover(shown=3)
    for pictures in (2, 0):
        evidence = module(pyramid(pictures))
        assert evidence.logits.shape == (pictures, 4, 12, 12)
        found = told(module, evidence, torch.randn(pictures, 3, 24, 24))
        assert found.classes is not None and found.classes.shape == (pictures, 4, 32)
        assert found.tokens.shape == (pictures, 3, 32) and found.mask.shape == (pictures, 3)
        losses = module.losses(evidence, torch.zeros(pictures, 24, 24, dtype=torch.uint8))
        assert all(bool(torch.isfinite(v)) for v in losses.values()) and bool(losses["land_cover"] > 0) == (
            pictures > 0
        )


def test_measures_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    mine = (rng.random((3, 2, 12, 12)) < 0.3).astype(np.float32)
    mine[1, 1] = 0
    found = measures(torch.from_numpy(mine)).numpy()
    assert found.shape == (3, 2, MEASURES) and not found[1, 1].any()
    places = np.linspace(-1, 1, 12)
    for i, k in ((0, 0), (1, 0), (2, 1)):
        rows, columns = np.nonzero(mine[i, k])
        share, root, x, y, spread, cosine, sine, *cells = found[i, k]
        np.testing.assert_allclose([share, root**2], mine[i, k].mean(), atol=1e-6)
        np.testing.assert_allclose([x, y], [places[columns].mean(), places[rows].mean()], atol=1e-6)
        values, vectors = np.linalg.eigh(np.cov(np.stack([places[columns], places[rows]]), bias=True))
        angle = 2 * np.arctan2(vectors[1, 1], vectors[0, 1])
        longer = (values[1] - values[0]) / 2 / values[1]
        np.testing.assert_allclose(
            [spread, cosine, sine], [values[1] ** 0.5, longer * np.cos(angle), longer * np.sin(angle)], atol=1e-5
        )
        blocks = mine[i, k].reshape(3, 4, 3, 4).sum((1, 3)).ravel()
        np.testing.assert_allclose(cells, blocks / blocks.sum(), atol=1e-5)


def test_regions_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    maps = ndimage.zoom(rng.integers(0, 4, (3, 6, 6)), (1, 3, 3), order=0)
    largest, counts = class_regions(torch.from_numpy(maps), 5, 2)
    large = without_specks(torch.from_numpy(maps), 12)
    for i, one in enumerate(maps):
        for k in range(5):
            labels, number = ndimage.label(one == k, np.ones((3, 3)))
            assert counts[i, k] == number and bool(largest[i, k].any()) == (number > 0)
            if number:
                assert int(largest[i, k].sum()) == np.bincount(labels.ravel())[1:].max()
                assert len(np.unique(labels[largest[i, k].numpy() > 0])) == 1
        labels, _ = ndimage.label(one > 0, np.ones((3, 3)))
        np.testing.assert_array_equal(large[i], one * (np.bincount(labels.ravel())[labels] >= 12))
    speck = np.zeros((1, 4, 4), dtype=int)
    speck[0, 1, 1] = 3
    assert class_regions(torch.from_numpy(speck), 5, 2)[1][0].tolist() == [1, 0, 0, 0, 0]


def test_what_covers_most_is_told_first_and_only_what_is_there() -> None:
    module, classes = land_cover(shown=4), np.zeros((12, 12), dtype=int)
    classes[:, :4], classes[2:4, 8:10] = 1, 2
    found = told(module, drawn(classes), torch.zeros(1, 3, 24, 24))
    assert found.classes is not None
    torch.testing.assert_close(found.tokens[0, :3], found.classes[0, [0, 1, 2]])
    assert found.mask[0].tolist() == [True, True, True, False]
    assert not found.tokens[0, 3].any() and found.classes[0, 3].any()  # what is not there is known, but not shown


@pytest.mark.parametrize("what", ["place", "number", "colour", "direction"])
def test_a_token_tells_place_number_colour_and_direction(what: str) -> None:
    module, one, other = land_cover(), np.zeros((12, 12), dtype=int), np.zeros((12, 12), dtype=int)
    pixels, same = torch.zeros(1, 3, 24, 24), torch.zeros(1, 3, 24, 24)
    one[2:4, 2:6] = 2
    if what == "place":
        other[8:10, 2:6] = 2
    elif what == "number":
        other[2:4, 2:4], other[2:4, 5:7] = 2, 2
    elif what == "direction":
        other[1:5, 3:5] = 2
    else:
        other = one
        same[:, 0, 4:8, 4:12] = 1.0
    first, second = (told(module, drawn(m), p).classes[0] for m, p in ((one, pixels), (other, same)))
    assert (first[2] - second[2]).abs().max() > 0.05
    torch.testing.assert_close(first[3], second[3])  # nothing is known of what is not there, either way


def test_tokens_describe_the_true_map_where_it_is_given_and_known() -> None:
    module, evidence, pixels = land_cover(), land_cover()(pyramid()), torch.zeros(2, 3, 24, 24)
    truth = torch.full((2, 24, 24), 3, dtype=torch.uint8)
    truth[1, 0, 0] = 255
    seen, true = told(module, evidence, pixels).classes, told(module, evidence, pixels, truth).classes
    assert seen is not None and true is not None
    torch.testing.assert_close(true[1], seen[1])
    sure = MapEvidence(logits=torch.zeros(1, 4, 12, 12), features=evidence.features[:1])
    sure.logits[:, 3] = 50.0
    torch.testing.assert_close(true[:1], told(module, sure, pixels[:1]).classes, atol=1e-4, rtol=1e-4)


def test_losses_count_what_is_known_and_every_class_alike() -> None:
    module, classes = land_cover(), np.zeros((12, 12), dtype=np.uint8)
    classes[0, 0] = 2
    target = torch.from_numpy(classes.copy())[None]
    right = module.losses(drawn(classes), target)
    assert float(right["land_cover"]) < 1e-6 and float(right["land_cover_dice"]) < 1e-6
    wrong = module.losses(drawn(np.zeros_like(classes)), target)
    # one pixel of 144 by the cross-entropy, one class of two by the dice: 1 - (0 + 1) / (0 + 1 + 1)
    assert float(wrong["land_cover"]) == pytest.approx(50 / 144, rel=1e-3)
    assert float(wrong["land_cover_dice"]) == pytest.approx((0.5 + 1 - (2 * 143 + 1) / (144 + 143 + 1)) / 2, rel=1e-3)
    target[0, 0, 0] = 255
    assert float(module.losses(drawn(np.zeros_like(classes)), target)["land_cover"]) < 1e-6
    assert not any(v.any() for v in module.losses(drawn(classes), torch.full_like(target, 255)).values())


def test_a_map_is_learned() -> None:
    module, levels = land_cover().train(), pyramid(4)
    target = (levels[0][0][:, 0] > 0).to(torch.uint8) + 2 * (levels[0][0][:, 1] > 0).to(torch.uint8)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for _ in range(80):
        loss = sum(module.losses(module(levels), target).values())
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (module(levels).logits.argmax(1) == target).float().mean() > 0.95


def about() -> tuple[NounGrounding, Tensor]:
    """Of a ship, a road and 28 other classes; and what is known of two pictures and of each of their classes."""
    names = ("ship", "road", *(f"thing {n}" for n in range(28)))
    known = torch.randn(2, 1 + len(names), 8, generator=torch.Generator().manual_seed(0))
    return NounGrounding(names=names, codec=codecs(FIVE_KINDS)[0], memory_width=8, width=8), known


def test_words_bring_what_they_name() -> None:
    (module, known), codec = about(), codecs(FIVE_KINDS)[0]
    ids = torch.tensor([codec.encode("how many ships are there"), codec.encode("is there a ship ?")])
    assert not module(ids, torch.ones_like(ids).bool(), known).any()  # a word is first of all itself
    torch.nn.init.eye_(module.bring.weight)
    brought = module(ids, torch.ones_like(ids).bool(), known)
    for row, ship in ((0, 2), (1, 3)):
        torch.testing.assert_close(brought[row, ship], known[row, 1], atol=0.1, rtol=0.1)
        others = [place for place in range(5) if place != ship]
        torch.testing.assert_close(brought[row, others], known[row, 1:].mean(0).expand(4, -1))  # a little of everything
    brought.square().sum().backward()
    assert module.scores.weight.grad is not None
    assert module.scores.weight.grad[ids[0, 0]].abs().min() > 0  # and may learn what "food" has to do with
    torch.nn.init.zeros_(module.bring.weight)
    torch.nn.init.eye_(module.whole.weight)
    whole = torch.nn.functional.layer_norm(known[:, :1], (8,)).expand(-1, 5, -1)
    torch.testing.assert_close(module(ids, torch.ones_like(ids).bool(), known), whole)


def test_words_know_how_they_differ_from_what_else_is_named() -> None:
    (module, known), codec = about(), codecs(FIVE_KINDS)[0]
    torch.nn.init.eye_(module.compare.weight)
    ids = torch.tensor([codec.encode("is there a ship near the road ?")])
    added, half = module(ids, torch.ones_like(ids).bool(), known[:1])[0], (known[0, 1] - known[0, 2]) / 2
    for place, expected in ((3, half), (6, -half)):
        torch.testing.assert_close(added[place], expected, atol=0.2, rtol=0.1)
    assert added[[0, 1, 2]].abs().max() < 0.1 * added.abs().max()  # who names nothing is compared with nothing
    alone = module(ids[:, 2:4], torch.ones(1, 2).bool(), known[:1])[0, 1]
    assert alone.abs().max() < 0.1 * half.abs().max()
    padded = torch.nn.functional.pad(ids, (5, 0))
    torch.testing.assert_close(module(padded, torch.arange(len(padded[0]))[None] > 4, known[:1])[0, 5:], added)


@pytest.mark.parametrize("said", ["is the ship near the road ?", "near the road is the ship ?"])
def test_words_before_a_noun_tell_who_is_asked_for(said: str) -> None:
    (module, known), codec = about(), codecs(FIVE_KINDS)[0]
    torch.nn.init.zeros_(module.role.weight)
    for word, role in (("is", 9.0), ("near", -9.0)):
        module.role.weight.data[codec.encode(word)] = role
    torch.nn.init.eye_(module.relate.weight)
    ids = torch.tensor([codec.encode(said)])
    added, apart = module(ids, torch.ones_like(ids).bool(), known[:1])[0], (known[0, 1] - known[0, 2]) / 2
    for noun in (2, 5):
        torch.testing.assert_close(added[noun], apart, atol=0.25, rtol=0.15)
    assert added[[0, 1, 3, 4]].abs().max() < 0.1 * added.abs().max()  # who names nothing is told nothing


def test_a_single_picture_is_described_whoever_else_is_asked() -> None:
    model, batch = tiny_model(*COVER, "bypass=grid"), batch_of()
    assert model.nouns is not None
    torch.nn.init.normal_(model.nouns.bring.weight)
    with torch.no_grad():
        seen = model.perceive(batch).prefix
        assert seen.classes is not None and seen.classes.shape[1] == 1 + 4
        single = int((batch.frames[batch.view] == 1).nonzero()[0])
        paired = (batch.frames == 2)[batch.view]
        assert not seen.classes[paired, 1:].any() and seen.mask[paired].sum(1).max() == 1 + 9 + model.qformer.queries
        alone = model.perceive(batch.take([single])).prefix
        assert alone.classes is not None
        torch.testing.assert_close(
            alone.tokens[0][alone.mask[0]], seen.tokens[single][seen.mask[single]], atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(alone.classes[0], seen.classes[single], atol=1e-5, rtol=1e-4)
        rows = model.perceive(batch).routing.rows()
        grounded = model.start(batch, seen, rows)[0]
        model.nouns.bring.weight.zero_()
        plain = model.start(batch, seen, rows)[0]
    assert (grounded - plain).abs().max() > 1e-3


def test_noun_grounding_without_a_map_is_refused() -> None:
    with pytest.raises(UserError, match=r"add maps=\[land_cover\], or noun_grounding=false"):
        tiny_model("noun_grounding=true")


def test_the_land_cover_of_a_picture_is_an_output_of_the_model() -> None:
    model, batch = tiny_model(*COVER), batch_of(inference=True)
    with torch.no_grad():
        seen = model.see(batch).maps["land_cover"]
        answers = answer_batch(model, codecs()[0], batch, beams=1, max_new=2)
    place = {view: n for n, view in enumerate(seen.views.tolist())}
    for row, answer in enumerate(answers):
        view = int(batch.view[row])
        assert (view in place) == ("land_cover" in answer.outputs)
        if view in place:
            logits = torch.nn.functional.interpolate(
                seen.evidence.logits[place[view]][None], size=(32, 32), mode="bilinear", align_corners=False
            )
            classes = answer.outputs["land_cover"]
            assert classes.shape == (32, 32) and classes.dtype == np.uint8
            assert (classes == logits[0].argmax(0).numpy()).mean() > 0.999
            line = to_line(answer, batch.samples[row])
            np.testing.assert_array_equal(from_row(json.loads(line)).outputs["land_cover"], classes)


def test_the_generated_release_knows_the_class_of_every_pixel(tmp_path: Path) -> None:
    data = rsieval(split="val", scenes={"val": 6}, size_px=48, root=str(tmp_path), tasks=["caption"])
    generator = SceneGenerator(size_px=48, seed=0)
    for number, sample in enumerate(data):
        scene = generator.scene(10_000_000 + number)
        assert sample.class_map is not None and sample.classes == MAP_CLASSES
        classes = read_array(sample.class_map)
        np.testing.assert_array_equal(classes, class_map(scene))
        np.testing.assert_array_equal(classes[scene.instances == 0], scene.semantic[scene.instances == 0])
        for thing in scene.objects:
            assert {MAP_CLASSES[k] for k in np.unique(classes[scene.instances == thing.instance])} == {thing.category}


def test_the_map_turns_with_its_picture_and_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = rsieval(split="val", scenes={"val": 3}, size_px=48, root=str(tmp_path))[0]
    codec, levels = codecs(FIVE_KINDS)[0], {"mean": [0.0] * 3, "std": [1.0] * 3, "jitter": 0.0}
    collate = Collate(codec=codec, instruction_codec=codec, image_size=48, augment=True, **levels)  # type: ignore[arg-type]
    assert sample.class_map is not None
    picture, classes = load_image(sample.images[0]), read_array(sample.class_map)
    turns = [
        [np.rot90(np.flip(x, 0) if flip else x, n) for x in (picture, classes)] for flip in (0, 1) for n in range(4)
    ]
    seen = set()
    for seed in range(12):
        batch = collate([(sample, seed), (sample, seed)])
        shown = (255 * batch.pixels[0, 0]).round().byte().permute(1, 2, 0).numpy()
        turn = next(n for n, (turned, _) in enumerate(turns) if np.array_equal(turned, shown))
        np.testing.assert_array_equal(batch.class_map[0].numpy(), turns[turn][1])
        seen.add(turn)
    assert len(seen) > 2
    monkeypatch.setattr("rsmoe.data.rasters.class_map_sources.IndexMap.read", None)
    collate([(sample, 99)])


def test_class_maps_of_ones_own_and_what_is_refused(tmp_path: Path) -> None:
    root = rsicap(tmp_path, ["a.png", "b.png"])
    maps, options = root / "maps", {"root": str(root), "split": "train", "val_fraction": 0.0, "class_maps": "maps"}
    with pytest.raises(UserError, match=r"no .*classes\.txt"):
        RSICap(**options)  # type: ignore[arg-type]
    write(maps / "classes.txt", "ground\nship\n")
    size = load_image(root / "images" / "a.png").shape[:2]
    Image.fromarray(np.ones(size, dtype=np.uint8)).save(maps / "a.png")
    with pytest.raises(UserError, match=r"1 of 2 have no class map: b\.png"):
        RSICap(**options)  # type: ignore[arg-type]
    Image.fromarray(np.zeros((3, 3), dtype=np.uint8)).save(maps / "b.png")
    with pytest.raises(UserError, match=r"1 of 2 class maps are of another .*: b\.png \(3, 3\) on b\.png"):
        RSICap(**options)  # type: ignore[arg-type]
    Image.fromarray(np.zeros(size, dtype=np.uint8)).save(maps / "b.png")
    first, _ = RSICap(**options)  # type: ignore[arg-type]
    assert first.classes == ("ground", "ship") and (read_array(first.class_map) == 1).all()  # type: ignore[arg-type]
    write(maps / "classes.txt", "\n")
    with pytest.raises(UserError, match="names 0 classes"):
        RSICap(**options)  # type: ignore[arg-type]


def test_options_and_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"land_cover\.channels=12"):
        land_cover(channels=12)
    with pytest.raises(UserError, match="the class 7, but the model knows 4"):
        land_cover().losses(land_cover()(pyramid()), torch.full((2, 12, 12), 7, dtype=torch.uint8))


def test_a_land_cover_map_without_class_maps_to_learn_from_is_refused(tmp_path: Path) -> None:
    root = rsicap(tmp_path, ["a.png", "b.png"])
    config: dict[str, dict[str, Any]] = {
        "captions": {
            "reader": {
                "_target_": "rsmoe.data.readers.rsicap.RSICap",
                "name": "rsicap",
                "val_fraction": 0.0,
                "root": None,
            }
        },
        "questions": {"generated": {"_target_": "rsmoe.scenes.generated.rsieval"}, "splits": {"train": "train"}},
    }
    config["captions"]["splits"] = {"train": "train"}
    corpus = build_corpus(config, root=str(root), generated=False, console=Console(quiet=True))
    assert absent_from(corpus, config) == {"questions"}  # which the generated world alone can ask
    with pytest.raises(UserError, match=r"Type maps=\[\]"):
        corpus.check_land_cover(NAMES)
    write(root / "maps" / "classes.txt", "ground\nship\n")
    for name in ("a.png", "b.png"):
        size = load_image(root / "images" / name).shape[:2]
        Image.fromarray(np.ones(size, dtype=np.uint8)).save(root / "maps" / name)
    config["captions"]["reader"]["class_maps"] = "maps"
    corpus = build_corpus(config, root=str(root), generated=False, console=Console(quiet=True))
    corpus.check_land_cover(["ground", "ship"])
    with pytest.raises(UserError, match="have the classes ground, ship; maps.land_cover.classes are ground, water"):
        corpus.check_land_cover(NAMES)


def test_means_are_over_the_pixels_of_a_class() -> None:
    mine, values = torch.zeros(1, 2, 4, 4), torch.arange(16.0).view(1, 1, 4, 4)
    mine[0, 0, 0] = 1
    assert mean_over(mine, values)[0, :, 0].tolist() == [1.5, 0.0]


def test_a_sample_without_a_map_is_unknown_everywhere() -> None:
    batch = batch_of("caption", "vqa")
    assert (batch.class_map == 255).all() and all(isinstance(s, Sample) for s in batch.samples)

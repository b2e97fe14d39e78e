"""Regions: what is one, how it follows its picture, and what a model reads of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.models import codecs, requests, tiny_model

from rsmoe.data.boxes import parse
from rsmoe.data.boxes.region import REGION, Region
from rsmoe.data.collate import Collate
from rsmoe.data.sample import Sample
from rsmoe.data.shards.sample_codec import decode_view, encode_view, padded
from rsmoe.data.transforms.directions import turn_sample
from rsmoe.data.transforms.regions import pointed
from rsmoe.data.transforms.symmetries import SYMMETRIES, turn_image
from rsmoe.errors import UserError
from rsmoe.qformer.region_token import RegionToken

SIZE = (80, 40)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([10, 10, 10, 20], "no area"),
        ([30, 10, 20, 20], "corners out of order"),
        ([float("nan"), 0, 10, 10], "not finite"),
        ([90, 0, 100, 10], "outside of its picture"),
        ([-30, -30, -1, -1], "outside of its picture"),
        ([[0, 0], [10, 0]], "expected"),
        ([], "expected"),
        ([[0, 0], [10, 10], [20, 20]], "no area"),
        ([[0, 0], [10, 0], [float("inf"), 9]], "expected"),
        (["a", "b", "c", "d"], "expected"),
        ("field", "expected"),
    ],
)
def test_what_is_no_region_says_what_one_is(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Region.of(given, size_px=SIZE)
    assert "80 x 40" in str(error.value) and "\n" not in str(error.value)


def test_a_region_is_what_lies_in_the_picture() -> None:
    box = Region.of([60, 10, 100, 30], size_px=SIZE)
    assert parse(box.text("pixel_xyxy"), convention="pixel_xyxy", size_px=SIZE).boxes.tolist() == [[60, 10, 80, 30]]
    assert box.text("skyeye") == "{<75><25><100><75>}"
    triangle = Region.of([[0, 0], [40, 0], [0, 40]], size_px=SIZE)
    assert triangle.text("lhrs") == "[0.000, 0.000, 0.500, 1.000]"
    assert triangle.mask(64).float().mean() == pytest.approx(0.25, abs=0.02)
    assert Region.of([0.2, 0.2, 0.9, 0.9], size_px=SIZE).mask(8).sum() == 1  # smaller than a pixel
    oriented = Region.of([[20, 0], [40, 20], [20, 40], [0, 20]], size_px=(40, 40)).text("geochat_clockwise")
    (cx, cy, w, h, _) = parse(oriented, convention="geochat_clockwise", size_px=(40, 40)).boxes[0].tolist()
    assert (cx, cy) == (20, 20) and w == pytest.approx(28.28, abs=0.5) and h == pytest.approx(28.28, abs=0.5)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_region_turns_with_its_picture(symmetry: int) -> None:
    """Its mask is the turned mask, and the box in the words lies around it."""
    region = Region.of([[0, 0], [40, 5], [10, 24]], size_px=SIZE)
    turned = region.turned(symmetry)
    there = turn_image(region.mask(64), symmetry)
    assert (turned.mask(64) != there).float().mean() < 0.01  # centres on an edge
    rows, columns = there.nonzero().unbind(1)
    x1, y1, x2, y2 = parse(turned.text("skyeye"), convention="skyeye", size_px=(64, 64)).boxes[0].tolist()
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.allclose([x1, y1, x2, y2], [int(v) for v in found], atol=2)


def sample(place: int, *, words: str = f"What is in {REGION}?", **more: Any) -> Sample:
    """A picture that is white under the region and black elsewhere."""
    region = Region.of([10 + 4 * place, 8, 34 + 4 * place, 20], size_px=SIZE)
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[8:20, 10 + 4 * place : 34 + 4 * place] = 255
    told = {"region": region, "meta": {"box_convention": "skyeye"}} | more
    return Sample(
        id=str(place), images=(picture,), instruction=words, responses=("a ship",), task="caption", source="x", **told
    )


def collate(**options: Any) -> Collate:
    codec, words = codecs()
    levels: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "jitter": 0.0}
    return Collate(codec=codec, instruction_codec=words, image_size=32, **levels, **options)


def test_regions_follow_turns_flips_and_crops() -> None:
    """Pixels, mask and words of a batch that is augmented show one place; a crop leaves all of the region."""
    seen = collate(augment=True, crop_area=0.5)
    cropped = turned = 0
    for seed in range(60):
        one = sample(seed % 8)
        batch = seen([(one, seed)])
        assert batch.regions is not None
        inside, around = batch.pixels[0, 0].mean(0)[batch.regions[0]], batch.pixels[0, 0].mean(0)[~batch.regions[0]]
        assert inside.mean() > 0.85 and around.mean() < 0.1  # the edge is interpolated
        asked = batch.samples[0]
        assert asked.region is not None and REGION not in asked.instruction
        boxes = parse(asked.instruction, convention="skyeye", size_px=(32, 32)).boxes
        rows, columns = batch.regions[0].nonzero().unbind(1)
        box = [float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
        assert np.allclose(boxes[0], box, atol=1)
        turned += asked.instruction != pointed(one).instruction
        cropped += bool(batch.regions.sum() > collate()([(one, 0)]).regions.sum() + 8)  # type: ignore[union-attr]
    assert turned > 40 and cropped > 5


def test_words_of_a_region_need_a_region_and_a_convention() -> None:
    with pytest.raises(UserError, match="has no region"):
        pointed(sample(0, region=None))
    with pytest.raises(UserError, match="how to write its box"):
        pointed(sample(0, meta={}))
    told = pointed(sample(0, history=((f"What is in {REGION}?", "a ship"),), words="What colour is it?"))
    assert told.history == (("What is in {<12><20><42><50>}?", "a ship"),)
    assert turn_sample(sample(0), 3) is not None  # the words that hold no numbers yet can follow


def test_a_batch_without_regions_has_none() -> None:
    plain = sample(0, region=None, words="what ?")
    assert collate()([(plain, 0)]).regions is None
    both = collate()([(plain, 0), (sample(1), 0)])
    assert both.regions is not None and both.regions.flatten(1).any(1).tolist() == [False, True]
    assert both.take([1, 0]).regions is not None and both.take([1, 0]).regions[0].any()  # type: ignore[index]


def test_a_region_goes_through_a_shard() -> None:
    (_, text), *files = encode_view([sample(2)]).members
    size = sum(512 + padded(len(content)) for content in (text, *(content for _, content in files)))
    (back,) = decode_view(text, shard="0.tar", row=(0, len(text), size, 1, 0))
    assert back.region is not None and pointed(back).instruction == pointed(sample(2)).instruction


def test_the_token_is_the_mean_under_the_region() -> None:
    """Against a loop over pixels, on levels of two sizes; a request without a region has none."""
    torch.manual_seed(0)
    part = RegionToken(memory_width=6, width=5, pyramid_widths=(3, 4))
    pyramid = (torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4))
    regions = torch.zeros(3, 16, 16, dtype=torch.bool)
    regions[0, 3:9, 1:6], regions[2, 10, 15] = True, True
    view = torch.tensor([1, 0, 0])
    token = part(pyramid, view, regions)
    assert token.tokens.shape == (3, 1, 5) and token.mask.tolist() == [[True], [False], [True]]
    for row in (0, 2):
        means = []
        for level in pyramid:
            step, sums, count = 16 // level.shape[2], torch.zeros(level.shape[1]), 0
            for y, x in regions[row].nonzero().tolist():
                sums, count = sums + level[view[row], :, y // step, x // step], count + 1
            means.append(sums / count)
        expected = part.project(part.join(torch.cat(means)))
        assert torch.allclose(token.tokens[row, 0], expected, atol=1e-5)
    assert not token.tokens[1].any()


def pointing(*boxes: list[float] | None) -> Any:
    """The first request of `requests`, about these regions of its picture."""
    first = replace(requests()[0], meta={"box_convention": "skyeye"})
    asked = [None if box is None else Region.of(box, size_px=(32, 32)) for box in boxes]
    codec, words = codecs()
    shape: dict[str, Any] = {"image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return Collate(codec=codec, instruction_codec=words, **shape)(
        [(replace(first, id=str(i), region=region), 0) for i, region in enumerate(asked)]
    )


def test_another_region_is_another_prefix_and_it_trains() -> None:
    """The same words about two regions differ in one token alone; its weights get gradients."""
    model = tiny_model("regions=pooled")
    with torch.no_grad():
        read = model.perceive(pointing([0, 0, 8, 8], [16, 16, 32, 32], None)).prefix
    assert not torch.allclose(read.tokens[0, -1], read.tokens[1, -1], atol=1e-3)
    assert torch.allclose(read.tokens[0, :-1], read.tokens[1, :-1], atol=1e-6)
    assert read.mask[:, -1].tolist() == [True, True, False]
    reading = model.read(pointing([0, 0, 8, 8], [16, 16, 32, 32]))
    assert not torch.allclose(reading.log_probability[0], reading.log_probability[1], atol=1e-6)
    (-reading.log_probability.sum()).backward()  # type: ignore[no-untyped-call]
    assert model.regions is not None
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.regions.parameters())


def test_a_request_without_a_region_reads_as_in_a_model_without() -> None:
    """Alone or beside requests with one."""
    model, without = tiny_model("regions=pooled"), tiny_model()
    without.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("regions.")})
    with torch.no_grad():
        mixed = model.read(pointing(None, [0, 0, 8, 8]))
        alone = model.read(pointing(None)).log_probability
        plain = without.read(pointing(None)).log_probability
    assert torch.equal(alone, plain)
    assert torch.allclose(mixed.log_probability[mixed.rows.sample == 0], alone, atol=1e-4)

"""Box conventions: hand-computed values, round trips within the step, failures that are never dropped, one sense."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from rsmoe.data.boxes import (
    CONVENTIONS,
    convention,
    hbb_of_obb,
    obb_corners,
    obb_from_corners,
    parse,
    wrap_angle,
    write,
)
from rsmoe.errors import UserError

SIZE = (800, 600)
HBB = [name for name, c in CONVENTIONS.items() if not c.oriented]
OBB = [name for name, c in CONVENTIONS.items() if c.oriented]


def test_every_convention_of_the_field_is_there() -> None:
    named = "minigpt skyeye geopix vrsbench vrsbench_corner vrsbench_coord teochat earthdial lhrs earthgpt vhm".split()
    both = [
        f"{n}_{s}" for n in ("geochat", "vrsbench_obb_v1", "vrsbench_obb_v2") for s in ("clockwise", "counterclockwise")
    ]
    assert {*named, *both, "pixel_xyxy", "pixel_xywh", "pixel_obb", "pixel_corners"} == set(CONVENTIONS)
    assert all(c.name == name and c.source for name, c in CONVENTIONS.items())


@pytest.mark.parametrize(
    ("name", "text", "box"),
    [
        ("minigpt", "{<10><20><30><40>}", (80, 120, 240, 240)),
        ("skyeye", "there { <10> <20> <30> <40> } it is", (80, 120, 240, 240)),
        ("geopix", "{<-7><20><30><40>}", (0, 120, 240, 240)),
        ("vrsbench", "{<0><0><100><100>}", (0, 0, 800, 600)),
        ("vrsbench_coord", "[0.1, 0.2, 0.3, 0.4]", (80, 120, 240, 240)),
        ("teochat", "[10, 20, 30, 40]", (80, 120, 240, 240)),
        ("lhrs", "[0.1,0.2,.3,4e-1]", (80, 120, 240, 240)),
        ("earthgpt", "[0.1, 0.2, 0.3, 0.4]", (80, 60, 240, 220)),  # 100 px of padding above
        ("vhm", "[100, 200, 300, 400]", (80, 120, 240, 240)),
        ("pixel_xyxy", "[80, 120, 240.0, 240]", (80, 120, 240, 240)),
        ("pixel_xywh", "[80, 120, 160, 120]", (80, 120, 240, 240)),
    ],
)
def test_horizontal_values(name: str, text: str, box: tuple[float, ...]) -> None:
    parsed = parse(text, convention=name, size_px=SIZE)
    assert parsed.boxes.dtype == np.float32 and parsed.failures == 0
    np.testing.assert_allclose(parsed.boxes, [box], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "text", "box"),
    [
        ("geochat_clockwise", "{<40><45><60><55>|<30>}", (400, 300, 160, 60, 30)),
        ("geochat_counterclockwise", "{<40><45><60><55>|<30>}", (400, 300, 160, 60, -30)),
        ("vrsbench_obb_v1_clockwise", "{<50><50><20><10>|<-30>}", (400, 300, 160, 60, -30)),
        ("vrsbench_obb_v2_counterclockwise", "{<40><45><60><55>|<-30>}", (400, 300, 160, 60, 30)),
        ("earthdial", "[40, 45, 60, 55, 30.5]", (400, 300, 160, 60, -30.5)),
        ("vrsbench_corner", "[0.4, 0.45, 0.6, 0.45, 0.6, 0.55, 0.4, 0.55]", (400, 300, 160, 60, 0)),
        ("pixel_obb", "[400, 300, 160, 60, 210]", (400, 300, 160, 60, 30)),
        ("pixel_corners", "[430, 220, 430, 380, 370, 380, 370, 220]", (400, 300, 160, 60, -90)),
    ],
)
def test_oriented_values(name: str, text: str, box: tuple[float, ...]) -> None:
    parsed = parse(text, convention=name, size_px=SIZE)
    assert parsed.boxes.dtype == np.float32 and parsed.failures == 0
    np.testing.assert_allclose(parsed.boxes, [box], atol=1e-3)


def test_earthgpt_pads_by_whole_pixels_as_its_release_does() -> None:
    """A picture of 100 x 301: int(201 / 2) = 100 columns on the left."""
    box = np.array([[10.0, 20, 60, 301]])
    values = convention("earthgpt").from_px(box, (100, 301))
    np.testing.assert_allclose(values, [[110 / 301, 20 / 301, 160 / 301, 1.0]])
    np.testing.assert_allclose(convention("earthgpt").to_px(values, (100, 301)), box, atol=1e-4)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[tuple[int, int], np.ndarray]:
    """A size and horizontal boxes on it."""
    size = draw(st.integers(8, 9000)), draw(st.integers(8, 9000))
    part = st.floats(0, 1, width=32)
    rows = draw(st.lists(st.tuples(part, part, part, part), min_size=1, max_size=4))
    unit = np.sort(np.array(rows).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    return size, unit * [*size, *size]


@pytest.mark.parametrize("name", HBB)
@settings(max_examples=40, deadline=None)
@given(pictures())
def test_horizontal_round_trip(name: str, picture: tuple[tuple[int, int], np.ndarray]) -> None:
    size, boxes = picture
    parsed = parse(write(boxes, convention=name, size_px=size), convention=name, size_px=size)
    assert parsed.failures == 0 and parsed.boxes.shape == boxes.shape
    form = convention(name)
    step = form.step_px(size)
    share = 1.0 if form.order == "xywh" or form.largest else 0.5  # two rounded numbers; 999 stands for the far border
    assert (np.abs(parsed.boxes - boxes) <= share * np.tile(step, 2) + 2e-3).all()


@st.composite
def oriented(draw: st.DrawFn) -> tuple[tuple[int, int], np.ndarray]:
    size = draw(st.integers(64, 4000)), draw(st.integers(64, 4000))
    part = st.floats(0.2, 0.8)
    rows = draw(st.lists(st.tuples(part, part, part, part, st.floats(-90, 89.5)), min_size=1, max_size=3))
    boxes = np.array(rows) * [*size, min(size), min(size) / 2, 1]
    return size, boxes


@pytest.mark.parametrize("name", OBB)
@settings(max_examples=40, deadline=None)
@given(oriented())
def test_oriented_round_trip(name: str, picture: tuple[tuple[int, int], np.ndarray]) -> None:
    size, boxes = picture
    parsed = parse(write(boxes, convention=name, size_px=size), convention=name, size_px=size)
    assert parsed.failures == 0 and parsed.boxes.shape == boxes.shape
    form = convention(name)
    step = form.step_px(size)
    if form.order == "corners":  # the box may have swapped its sides: its corners are where they were
        apart = np.abs(obb_corners(parsed.boxes)[:, :, None] - obb_corners(boxes)[:, None]).max(-1).min(-1)
        assert (apart <= 3 * step.max() + 2e-3).all()
        return
    assert (np.abs(parsed.boxes[:, :2] - boxes[:, :2]) <= step + 2e-3).all()
    assert (np.abs(parsed.boxes[:, 2:4] - boxes[:, 2:4]) <= step + 2e-3).all()
    turned = np.abs(wrap_angle(parsed.boxes[:, 4] - boxes[:, 4]))
    assert (turned <= (0.5 if form.scale else 0.005) + 1e-3).all()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("minigpt", "", "holds no box"),
        ("minigpt", "there is no ship", "holds no box"),
        ("minigpt", "[10, 20, 30, 40]", "holds no box"),
        ("minigpt", "{<10><20><30>}", "not in its form"),
        ("minigpt", "{<10><20><30><4", "not in its form"),
        ("minigpt", "<10><20><30><40>", "without braces"),
        ("minigpt", "{<0.1><0.2><0.3><0.4>}", "not in its form"),
        ("minigpt", "{<-10><20><30><40>}", "outside"),
        ("minigpt", "{<100><200><300><400>}", "outside"),
        ("minigpt", "{<30><20><10><40>}", "out of order"),
        ("teochat", "[0.1, 0.2, 0.3, 0.4]", "not in its form"),
        ("lhrs", "[10, 20, 30, 40]", "outside"),
        ("vhm", "[100, 200, 300]", "not in its form"),
        ("pixel_xyxy", "[800, 1200, 2400, 2400]", "outside"),
        ("pixel_xywh", "[10, 20, -5, 40]", "out of order"),
        ("pixel_xyxy", "[1, 2, 3, 1e999]", "not finite"),
        ("geochat_clockwise", "{<40><45><60><55>}", "not in its form"),
        ("earthdial", "[40, 45, 60, 55]", "not in its form"),
        ("vrsbench_obb_v1_clockwise", "{<150><50><20><10>|<0>}", "outside"),
        ("vrsbench_obb_v1_clockwise", "{<50><50><-20><10>|<0>}", "out of order"),
    ],
)
def test_a_failure_is_reported_with_its_text(name: str, text: str, reason: str) -> None:
    parsed = parse(text, convention=name, size_px=SIZE)
    assert parsed.boxes.shape == (0, 5 if convention(name).oriented else 4)
    assert parsed.failures == 1 and reason in parsed.failed[0] and text[:20] in parsed.failed[0]


def test_good_boxes_beside_bad_ones_are_kept_and_both_are_counted() -> None:
    text = "<p>ships</p> {<10><20><30><40>}<delim>{<10><20><30>}<delim>{<50><60><70><80>} and <1><2><3><4>"
    parsed = parse(text, convention="minigpt", size_px=SIZE)
    assert parsed.boxes.tolist() == [[80, 120, 240, 240], [400, 360, 560, 480]]
    assert parsed.failures == 2
    nested = parse("[[10, 20, 30, 40], [50, 60, 70, 80]]", convention="teochat", size_px=SIZE)
    assert len(nested.boxes) == 2 and nested.failures == 0


def test_the_last_hundredth_at_the_border_is_clipped() -> None:
    assert parse("[-3, 0, 806, 600]", convention="pixel_xyxy", size_px=SIZE).boxes.tolist() == [[0, 0, 800, 600]]
    assert parse("[-12, 0, 806, 600]", convention="pixel_xyxy", size_px=SIZE).failures == 1


def test_nothing_is_parsed_without_a_declared_convention() -> None:
    for name in ("geochat", "auto", ""):
        with pytest.raises(UserError, match="geochat_clockwise, geochat_counterclockwise"):
            parse("{<1><2><3><4>}", convention=name, size_px=SIZE)
    with pytest.raises(TypeError):
        parse("{<1><2><3><4>}", size_px=SIZE)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="horizontal boxes"):
        write(np.zeros((1, 5)), convention="minigpt", size_px=SIZE)
    with pytest.raises(UserError, match="oriented boxes"):
        write(np.zeros((1, 4)), convention="earthdial", size_px=SIZE)
    with pytest.raises(UserError, match="width, height"):
        parse("[1, 2, 3, 4]", convention="teochat", size_px=(0, 5))


def test_no_boxes_are_no_text() -> None:
    assert write(np.zeros((0, 4)), convention="minigpt", size_px=SIZE) == ""
    assert hbb_of_obb(np.zeros((0, 5))).shape == (0, 4) and obb_from_corners(np.zeros((0, 8))).shape == (0, 5)


# ---- the sense of rotation, on things that are drawn


def drawn(draw_it: str) -> np.ndarray:
    """A picture of one thick line, as pixels (x, y): "falling" from top left to bottom right, or "rising"."""
    image = Image.new("1", (400, 400))
    ends = {"falling": [(100, 150), (300, 250)], "rising": [(100, 250), (300, 150)]}[draw_it]
    ImageDraw.Draw(image).line(ends, fill=1, width=21)
    y, x = np.nonzero(np.array(image))
    return np.stack([x + 0.5, y + 0.5], axis=-1)


def rasterised(corners: np.ndarray) -> np.ndarray:
    image = Image.new("1", (400, 400))
    ImageDraw.Draw(image).polygon([tuple(p) for p in corners.tolist()], fill=1)
    y, x = np.nonzero(np.array(image))
    return np.stack([x + 0.5, y + 0.5], axis=-1)


def lower_end(points: np.ndarray) -> str:
    """Which end of a long thing lies lower in the picture."""
    right = points[:, 0] > points[:, 0].mean()
    return "right" if points[right, 1].mean() > points[~right, 1].mean() else "left"


@pytest.mark.parametrize(("thing", "lower", "angle"), [("falling", "right", 26.565), ("rising", "left", -26.565)])
def test_a_drawn_line_has_the_angle_that_the_eye_sees(thing: str, lower: str, angle: float) -> None:
    """26.565 degrees, arctan(100 / 200): positive where the right end is lower, turned clockwise from the x axis."""
    points = drawn(thing)
    assert lower_end(points) == lower
    ((along_x, _), (_, _)), axes = np.cov(points.T), np.linalg.eigh(np.cov(points.T))[1]
    assert along_x > 0
    seen = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
    assert wrap_angle(np.array(seen)) == pytest.approx(angle, abs=0.3)
    extremes = np.stack([points[np.argmin(points @ d)] for d in ((1, 2), (-1, 2), (-1, -2), (1, -2))])
    box = obb_from_corners(extremes[None])[0]
    assert box[4] == pytest.approx(angle, abs=8) and box[2] > 5 * box[3]
    again = rasterised(obb_corners(np.array([[200, 200, 224, 21, angle]]))[0])
    assert lower_end(again) == lower
    both = len(set(map(tuple, again.tolist())) & set(map(tuple, points.tolist())))
    assert both > 0.9 * max(len(again), len(points))


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("geochat_clockwise", "right"),
        ("geochat_counterclockwise", "left"),
        ("vrsbench_obb_v2_clockwise", "right"),
        ("earthdial", "left"),
    ],
)
def test_which_end_of_a_long_object_lies_lower(name: str, lower: str) -> None:
    text = "[25, 47, 75, 53, 30]" if name == "earthdial" else "{<25><47><75><53>|<30>}"
    box = parse(text, convention=name, size_px=(400, 400)).boxes
    assert lower_end(rasterised(obb_corners(box)[0])) == lower


def test_corners_go_clockwise_from_the_top_left() -> None:
    corners = obb_corners(np.array([[50, 40, 20, 10, 0], [50, 40, 20, 10, 90]]))
    assert corners[0].tolist() == [[40, 35], [60, 35], [60, 45], [40, 45]]
    np.testing.assert_allclose(corners[1], [[55, 30], [55, 50], [45, 50], [45, 30]], atol=1e-9)
    np.testing.assert_allclose(hbb_of_obb(np.array([[50, 40, 20, 10, 90]])), [[45, 30, 55, 50]], atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(oriented(), st.permutations(range(4)))
def test_corners_in_any_order_give_the_box_back(picture: tuple[tuple[int, int], np.ndarray], order: list[int]) -> None:
    _, boxes = picture
    found = obb_from_corners(obb_corners(boxes)[:, order])
    assert (found[:, 2] >= found[:, 3]).all() and (found[:, 4] >= -90).all() and (found[:, 4] < 90).all()
    apart = np.abs(obb_corners(found)[:, :, None] - obb_corners(boxes)[:, None]).max(-1).min(-1)
    assert apart.max() < 0.02


def test_four_clicked_points_give_the_smallest_rectangle_around_them() -> None:
    """Against a search over a thousand directions."""
    rng = np.random.default_rng(0)
    for points in rng.uniform(0, 100, (40, 4, 2)):
        cx, cy, w, h, angle = obb_from_corners(points[None])[0].astype(float)
        turned = (points - [cx, cy]) @ np.array(
            [
                [math.cos(math.radians(angle)), -math.sin(math.radians(angle))],
                [math.sin(math.radians(angle)), math.cos(math.radians(angle))],
            ]
        )
        assert (np.abs(turned) <= np.array([w, h]) / 2 + 1e-3).all()
        directions = np.linspace(0, np.pi, 1001)
        axes = np.stack([np.cos(directions), np.sin(directions)])
        searched = np.ptp(points @ axes, axis=0) * np.ptp(points @ np.stack([-axes[1], axes[0]]), axis=0)
        assert w * h <= searched.min() + 1e-2


def test_a_sign_may_stand_apart_from_its_digits() -> None:
    """As a vocabulary of words writes it; both are the same box."""
    apart, joined = "{ < - 4 > < 40 > < 27 > < 76 > | < - 65 > }", "{<-4><40><27><76>|<-65>}"
    found = [parse(text, convention="geochat_clockwise", size_px=SIZE).boxes for text in (apart, joined)]
    assert len(found[0]) == 1 and np.array_equal(*found)

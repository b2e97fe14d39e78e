"""Every convention that the field writes boxes in, by name."""

from __future__ import annotations

from typing import Any

from rsmoe.data.boxes.convention import Convention
from rsmoe.errors import require_known


def _both_senses(name: str, source: str, **fields: Any) -> list[Convention]:
    """A convention whose release does not settle the sense of its angle: it has to be chosen, none is the default."""
    senses = (("clockwise", True), ("counterclockwise", False))
    return [Convention(name=f"{name}_{word}", clockwise=sense, source=source, **fields) for word, sense in senses]


CONVENTIONS: dict[str, Convention] = {
    c.name: c
    for c in (
        Convention(name="minigpt", order="xyxy", braces=True, scale=100.0, source="MiniGPT-v2, github.com/Vision-CAIR"),
        Convention(name="skyeye", order="xyxy", braces=True, scale=100.0, source="SkyEyeGPT: that of MiniGPT-v2"),
        Convention(name="geopix", order="xyxy", braces=True, clamps=True, scale=100.0, source="GeoPix, inference.py"),
        Convention(name="vrsbench", order="xyxy", braces=True, scale=100.0, source="VRSBench, field ground_truth"),
        *_both_senses(
            "geochat",
            "GeoChat demo: bbox_and_angle_to_polygon turns clockwise, rotate_bbox (what it draws) counterclockwise",
            order="xyxya",
            braces=True,
            scale=100.0,
        ),
        *_both_senses(
            "vrsbench_obb_v1", "VRSBench; angle -90 to 90, sense not stated", order="cxcywha", braces=True, scale=100.0
        ),
        *_both_senses(
            "vrsbench_obb_v2", "VRSBench; angle -90 to 90, sense not stated", order="xyxya", braces=True, scale=100.0
        ),
        Convention(name="vrsbench_corner", order="corners", scale=1.0, decimals=4, source="VRSBench, field obj_corner"),
        Convention(name="vrsbench_coord", order="xyxy", scale=1.0, decimals=2, source="VRSBench, field obj_coord"),
        Convention(name="teochat", order="xyxy", scale=100.0, source="TEOChat, arXiv 2410.06234"),
        Convention(
            name="earthdial",
            order="xyxya",
            clockwise=False,
            scale=100.0,
            source="EarthDial, rs_detection/eval.py (its scorer turns counterclockwise; 0-100 as we remember it)",
        ),
        Convention(
            name="lhrs", order="xyxy", scale=1.0, decimals=3, source="LHRS-Bot, main_vg.py (three decimals are ours)"
        ),
        Convention(
            name="earthgpt",
            order="xyxy",
            padded=True,
            scale=1.0,
            decimals=3,
            source="MMRS-1M, github.com/wivizhang/EarthGPT, README",
        ),
        Convention(
            name="vhm",
            order="xyxy",
            scale=1000.0,
            largest=999.0,
            digits=3,
            source="VHM, RSEvalKit model_eval_mp.py: value / 1000 of each side, of a picture resized to 512 x 512",
        ),
        Convention(name="pixel_xyxy", order="xyxy", decimals=2, source="pixels: VOC, XLRS-Bench"),
        Convention(name="pixel_xywh", order="xywh", decimals=2, source="pixels: COCO"),
        Convention(name="pixel_obb", order="cxcywha", decimals=2, source="pixels: as inside the library"),
        Convention(name="pixel_corners", order="corners", decimals=2, source="pixels: DOTA"),
    )
}
"""Name of a box convention (order of the corners, units, range) -> the convention."""


def convention(name: str) -> Convention:
    """The convention of this name; a `UserError` lists those that exist for any other."""
    require_known("box convention", name, known=CONVENTIONS)
    return CONVENTIONS[name]

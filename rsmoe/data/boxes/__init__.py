"""Boxes between the words of any release or model and float pixels of the original image.

Inside the library a horizontal box is ``x1 y1 x2 y2`` and an oriented one ``cx cy w h angle_deg``, float32 pixels; the
angle turns the x axis towards the y axis, which is clockwise to the eye, for y points down. The corner of a picture is
(0, 0), its far corner (W, H): no pixel is added anywhere.

Text becomes boxes only under a declared convention (`CONVENTIONS`); none is ever guessed.

    parse("{<10><20><30><40>}", convention="minigpt", size_px=(800, 600)).boxes   # [[80, 120, 240, 240]]
    write(boxes, convention="lhrs", size_px=(800, 600))                           # "[0.100, 0.200, 0.300, 0.400]"
"""

from rsmoe.data.boxes.box_text import ParsedBoxes, parse, write
from rsmoe.data.boxes.convention import Convention
from rsmoe.data.boxes.conventions import CONVENTIONS, convention
from rsmoe.data.boxes.geometry import box_corners, hbb_of_obb, obb_corners, obb_from_corners, wrap_angle
from rsmoe.data.boxes.held import HeldBoxes, hold_boxes

__all__ = [
    "CONVENTIONS",
    "Convention",
    "HeldBoxes",
    "ParsedBoxes",
    "box_corners",
    "convention",
    "hbb_of_obb",
    "hold_boxes",
    "obb_corners",
    "obb_from_corners",
    "parse",
    "wrap_angle",
    "write",
]

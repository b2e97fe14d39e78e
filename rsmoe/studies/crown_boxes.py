"""Boxes that `rsmoe.predict` found on a picture against those of a VOC xml: precision and recall at one IoU.

``python -m rsmoe.studies.crown_boxes right --xml $RSMOE_DATA/geotiff/neon_osbs/OSBS_029.xml --window 200 0 200 400``
reads ``right/answer.json`` of ``rsmoe.predict ... raster.window=[200,0,200,400] out=right``. An object counts where
its middle is in the window, clipped to it. NEON's benchmark of tree crowns matches at an IoU of 0.4 (Weinstein et al.,
PLoS Computational Biology 17, 2021).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rsmoe.data.files.json_text import read_json
from rsmoe.data.readers.voc_xml import read_voc
from rsmoe.metrics.regions.grounding import hbb_iou, match


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answer", type=Path, help="folder of rsmoe.predict")
    parser.add_argument("--xml", type=Path, required=True)
    parser.add_argument("--window", type=int, nargs=4, required=True, help="left top width height, as raster.window=")
    parser.add_argument("--iou", type=float, default=0.4)
    given = parser.parse_args()
    row = read_json(given.answer / "answer.json")
    left, top, width, height = given.window
    every = np.array([one.box for one in read_voc(given.xml)]) - [left, top, left, top]
    middles = (every[:, :2] + every[:, 2:]) / 2
    true = every[((middles >= 0) & (middles < (width, height))).all(axis=1)].clip(0, [width, height, width, height])
    found = np.array(row["boxes_px"] or np.zeros((0, 4))) * width / row["size_px"][0]  # of other pixels with gsd_m=
    hits = int((match(hbb_iou(found, true), at_least=given.iou) >= 0).sum())
    print(
        f"{len(found)} boxes, {len(true)} true: precision {hits / max(1, len(found)):.2f}, "
        f"recall {hits / max(1, len(true)):.2f} at IoU {given.iou:g}"
    )


if __name__ == "__main__":
    main()

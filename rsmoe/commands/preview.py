"""A contact sheet of generated scenes: ``python -m rsmoe.commands.preview out=sheet.png size=256``.

Keys, typed as key=value: out (a picture, scenes.png), size (side of a scene in pixels, 256), seed (of the generator,
0), first (number of the first scene, 0), pairs (true: 18 pairs of dates in place of 36 scenes; false).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from rsmoe.errors import UserError, require_known
from rsmoe.files import require_writable, whole_file
from rsmoe.scenes.generator import SceneGenerator


def contact_sheet(images: list[np.ndarray], *, columns: int = 6, gap: int = 2) -> Image.Image:
    """Tile (H, W, >= 3) uint8 images of one size on a white sheet."""
    side = images[0].shape[0] + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * side - gap, columns * side - gap, 3), 255, np.uint8)
    for number, image in enumerate(images):
        y, x = number // columns * side, number % columns * side
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image[..., :3]
    return Image.fromarray(sheet)


def main(arguments: list[str]) -> None:
    """Write a 6 x 6 sheet of scenes, or of pairs side by side; arguments are ``key=value``."""
    if {"--help", "-h"} & set(arguments):
        return print(__doc__)
    options = {"out": "scenes.png", "size": "256", "seed": "0", "first": "0", "pairs": "false"}
    for argument in arguments:
        key, _, value = argument.partition("=")
        require_known("option", key, known=options)
        options[key] = value
    out = Path(options["out"])
    require_writable(out, "out=", folder=False)
    generator = SceneGenerator(size_px=int(options["size"]), seed=int(options["seed"]))
    first = int(options["first"])
    if options["pairs"] == "true":
        images = []
        for index in range(first, first + 18):
            pair = generator.pair(index)
            images += [pair.before.image, pair.after.image]
    else:
        images = [generator.scene(index).image for index in range(first, first + 36)]
    with whole_file(out) as part:
        contact_sheet(images).save(part)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        raise SystemExit(f"error: {error}") from None

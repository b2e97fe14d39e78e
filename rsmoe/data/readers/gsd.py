"""Samples at one ground sampling distance, so that a house is as many pixels large in every data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from rsmoe.data.rasters.images import load_image, picture_size, read_array
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError


@dataclass(frozen=True, eq=False, kw_only=True)
class Rescaled:
    """An image, mask or class map of a `Sample` at another scale, in the middle of a square canvas; a `Lazy`.

    Images are resized bicubic and antialiased, the others to the nearest pixel.
    """

    source: Path | np.ndarray | Lazy
    """(H, W, C) uint8, or (H, W) of any type."""
    width: int
    height: int
    """Of the picture on the canvas, in pixels."""
    size: int
    """Side of the canvas."""
    fill: int = 0
    """Value around the picture."""

    @property
    def key(self) -> str:
        """Hash of the source's name or content and the scale."""
        source = self.source
        if isinstance(source, np.ndarray):
            name = hashlib.sha1(np.ascontiguousarray(source).tobytes()).hexdigest() + str(source.shape)
        else:
            name = str(source) if isinstance(source, Path) else source.key
        return f"rescaled:{self.width}x{self.height}/{self.size}/{self.fill}:{name}"

    def read(self) -> np.ndarray:
        """(size, size, C) uint8, or (size, size) of the source's type."""
        array = load_image(self.source) if isinstance(self.source, Path) else read_array(self.source)
        canvas = np.full((self.size, self.size, *array.shape[2:]), self.fill, array.dtype)
        left, top = (self.size - self.width) // 2, (self.size - self.height) // 2
        canvas[top : top + self.height, left : left + self.width] = self._scaled(array)
        return canvas

    def _scaled(self, array: np.ndarray) -> np.ndarray:
        if array.shape[:2] == (self.height, self.width):
            return array
        if array.ndim == 2:
            rows = ((np.arange(self.height) + 0.5) * array.shape[0] / self.height).astype(int)
            columns = ((np.arange(self.width) + 0.5) * array.shape[1] / self.width).astype(int)
            return array[rows[:, None], columns]
        pixels = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None].float()
        scaled = functional.interpolate(pixels, (self.height, self.width), mode="bicubic", antialias=True)[0]
        return scaled.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def at_gsd(sample: Sample, *, gsd_m: float, size: int) -> Sample:
    """The sample with ``gsd_m`` metres a pixel, on square canvases of ``size`` pixels, black around the picture.

    Nothing is cut off, so that every word stays true; images, mask, class map, boxes and georeference move together,
    the arrays when they are read. Where pictures are resized to ``size`` later on, that then changes nothing.

    Args:
        sample: with ``meta["gsd_m"]`` or a georeference.
        gsd_m: wanted.
        size: side of the canvas in pixels.

    Raises:
        UserError: when the sample's gsd is unknown, or its picture would not fit on the canvas.
    """
    given = sample.meta.get("gsd_m") or (sample.georeference.gsd_m if sample.georeference else None)
    if given is None:
        raise UserError(
            f"sample {sample.id!r} of {sample.source!r} has neither meta['gsd_m'] nor a georeference, so that it "
            "cannot be brought to a gsd. Leave the gsd out for this data set"
        )
    given_width, given_height = picture_size(sample.images[0])
    width, height = (max(1, round(side * float(given) / gsd_m)) for side in (given_width, given_height))
    if max(width, height) > size:
        raise UserError(
            f"sample {sample.id!r} of {sample.source!r} is {given_width} x {given_height} pixels of {given:g} m, "
            f"which is {width} x {height} at {gsd_m:g} m: too large for size={size}. Cut it into tiles, or give "
            f"size={max(width, height)} or gsd_m={gsd_m * max(width, height) / size:.3g}"
        )
    scale = np.array([width / given_width, height / given_height])
    corner = np.array([(size - width) // 2, (size - height) // 2])
    boxes, oriented, georeference = sample.boxes_px, sample.obb_px, sample.georeference
    if boxes is not None:
        boxes = (boxes.reshape(-1, 2, 2) * scale + corner).reshape(-1, 4).astype(np.float32)
    if oriented is not None:
        middle = oriented[:, :2] * scale + corner
        oriented = np.concatenate([middle, oriented[:, 2:4] * scale.mean(), oriented[:, 4:]], axis=1).astype(np.float32)
    if georeference is not None:
        georeference = georeference.resized(width, height).subwindow(-int(corner[0]), -int(corner[1]), size, size)

    def scaled(source: Path | np.ndarray | Lazy, fill: int = 0) -> Rescaled:
        return Rescaled(source=source, width=width, height=height, size=size, fill=fill)

    return replace(
        sample,
        images=tuple(scaled(image) for image in sample.images),
        mask=None if sample.mask is None else scaled(sample.mask),
        class_map=None if sample.class_map is None else scaled(sample.class_map, 255),
        boxes_px=boxes,
        obb_px=oriented,
        georeference=georeference,
        meta=sample.meta | {"gsd_m": gsd_m},
    )

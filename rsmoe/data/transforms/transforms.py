"""uint8 pictures to normalised pixels, with augmentation that keeps words and masks true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.data.transforms.alignment import align
from rsmoe.data.transforms.directions import has_coordinates, turn_sample
from rsmoe.data.transforms.radiometry import match_levels
from rsmoe.data.transforms.symmetries import IDENTITY, turn_image
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Views:
    """The pictures of one view, ready for a batch, and their geometry. S is the side in pixels."""

    pixels: Tensor
    """(T, C, S, S) float32, normalised."""
    symmetry: int = IDENTITY
    """How they were turned: `rsmoe.data.transforms.directions.turn_sample` gives the words that are true of them."""
    window_px: tuple[int, int, int, int] | None = None
    """``x y w h``, what was then cut out of them; None for all."""

    @property
    def window(self) -> tuple[float, float, float, float] | None:
        """The same in parts of the sides."""
        return None if self.window_px is None else _parts(self.window_px, self.pixels.shape[-1])

    def placed(self, known: Tensor) -> Tensor:
        """(S, S) uint8, classes or numbers of targets, of the pictures as they were given -> as they are seen."""
        known = turn_image(known, self.symmetry)
        if self.window_px is not None:
            left, top, width, height = self.window_px
            known = nearest(known[top : top + height, left : left + width], self.pixels.shape[-1])
        return known.contiguous()


def resize(image: np.ndarray, size: int) -> Tensor:
    """(H, W, C) uint8 -> (C, size, size) uint8, bicubic and antialiased; the aspect ratio is not kept."""
    if min(image.strides) < 0:  # of a mirrored view, which tensors cannot be
        image = np.ascontiguousarray(image)
    pixels = torch.from_numpy(image).permute(2, 0, 1)  # (C, H, W)
    if pixels.shape[1:] == (size, size):
        return pixels.contiguous()
    # in uint8: much faster than in float, and the arithmetic of Pillow
    return functional.interpolate(pixels[None], (size, size), mode="bicubic", antialias=True)[0].contiguous()


def nearest(classes: Tensor, size: int) -> Tensor:
    """(H, W) uint8 -> (size, size): the class at the middle of each pixel."""
    if classes.shape == (size, size):
        return classes
    return functional.interpolate(classes[None, None], (size, size), mode="nearest-exact")[0, 0]


class Transform:
    """Augments and normalises the pictures of one view; all dates get the same geometry.

    With ``augment``: one of the eight flips and quarter turns, where the words of all samples can follow; a crop
    of at least ``crop_area`` of the picture, only for captions, retrieval, all classes of a map and masks of every
    thing of a kind, without direction words and coordinates, and around all of a region; brightness and contrast, each
    date its own, hue never (colour words must stay true).

    Args:
        size: S, side of the output in pixels.
        mean, std: of each band on the scale 0-1; their length is the number of bands.
        augment: True for training; all that follows does nothing otherwise.
        crop_area: least share of the area that a crop keeps; 1 turns crops off.
        jitter: greatest relative change of brightness and of contrast; 0 turns it off.
        align_px: greatest shift between dates that is taken back, with and without ``augment``, see `align`.
        match_levels: bring every date to the levels of the first, with and without ``augment``, see `match_levels`.

    Raises:
        UserError: for ``mean`` and ``std`` of different lengths, or an ``align_px`` of half the side.
    """

    def __init__(
        self,
        *,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: bool = False,
        crop_area: float = 0.7,
        jitter: float = 0.2,
        align_px: int = 0,
        match_levels: bool = False,
    ) -> None:
        if not mean or len(mean) != len(std):
            raise UserError(f"mean has {len(mean)} values and std {len(std)}; both need one per band")
        if align_px >= max(1, size // 2):
            raise UserError(f"align_px={align_px}: expected less than {max(1, size // 2)}, half of the {size} pixels")
        self.size, self.bands, self.mean, self.std = size, len(mean), list(mean), list(std)
        self.augment, self.crop_area, self.jitter = augment, crop_area, jitter
        self.align_px, self.match_levels = align_px, match_levels
        self._mean = 255 * torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self._scale = 1 / (255 * torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def __call__(
        self,
        images: Sequence[Tensor],
        *,
        samples: Sequence[Sample],
        generator: torch.Generator,
    ) -> Views:
        """Pictures (C, S, S) uint8, as `resize` makes them, to `Views`.

        Args:
            samples: all that are about these pictures: the geometry is one that their words, masks and tasks allow.

        Raises:
            UserError: for another number of bands than ``mean`` has.
        """
        for image in images:
            if image.shape[0] != self.bands:
                raise UserError(
                    f"sample {samples[0].id!r} of {samples[0].source!r} has {image.shape[0]} bands, expected "
                    f"{self.bands}. "
                    f"Set bands={image.shape[0]} and one mean and std per band, or read {self.bands} of them: "
                    "raster.bands=[...] of data of your own"
                )
        symmetry, window = IDENTITY, None
        if self.augment:
            window = self._window(samples, generator)
            symmetry = _symmetry(samples, generator)
            if window is not None and not _whole(samples, symmetry, _parts(window, self.size)):
                window = None
        stacked = torch.stack(list(images)) if len(images) > 1 else images[0][None]  # (T, C, S, S) uint8
        pixels = self._cut(turn_image(stacked, symmetry), window).float()
        pixels = align(pixels, most_px=self.align_px)
        if self.augment:
            pixels = self._relight(pixels, generator)
        if self.match_levels:
            pixels = match_levels(pixels)
        return Views(pixels=self.normalised(pixels), symmetry=symmetry, window_px=window)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(..., C, S, S) float of the scale 0-255 -> (x / 255 - mean) / std, in place."""
        return pixels.sub_(self._mean).mul_(self._scale)

    def _window(self, members: Sequence[Sample], generator: torch.Generator) -> tuple[int, int, int, int] | None:
        """``x y w h`` to cut out, or None for all of the picture."""
        if self.crop_area == 1 or any(uncroppable(member) for member in members):
            return None
        area, aspect, x, y = torch.rand(4, generator=generator).tolist()
        side = math.sqrt(self.crop_area + (1 - self.crop_area) * area) * self.size
        stretch = 1.1 ** (2 * aspect - 1)
        height = min(self.size, max(1, round(side * stretch)))
        width = min(self.size, max(1, round(side / stretch)))
        return round(x * (self.size - width)), round(y * (self.size - height)), width, height

    def _cut(self, pixels: Tensor, window: tuple[int, int, int, int] | None) -> Tensor:
        if window is None:
            return pixels
        left, top, width, height = window
        cut = pixels[..., top : top + height, left : left + width]
        # torch has a fast path for up to four bands of uint8
        cut = cut.contiguous() if self.bands <= 4 else cut.float()
        return functional.interpolate(cut, (self.size, self.size), mode="bilinear", antialias=True)

    def _relight(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        change = 1 + self.jitter * (2 * torch.rand(2, len(pixels), 1, 1, 1, generator=generator) - 1)
        brightness, contrast = change
        level = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return pixels.mul_(contrast).add_(level * (brightness - contrast)).clamp_(0, 255)


def _parts(window: tuple[int, int, int, int], size: int) -> tuple[float, float, float, float]:
    x, y, width, height = (side / size for side in window)
    return x, y, width, height


def _symmetry(samples: Sequence[Sample], generator: torch.Generator) -> int:
    """One of the eight symmetries, the identity where some sample's words cannot follow the one that was drawn."""
    drawn = int(torch.randint(8, (), generator=generator))
    return drawn if all(turn_sample(sample, drawn) is not None for sample in samples) else IDENTITY


def _whole(members: Sequence[Sample], symmetry: int, window: tuple[float, float, float, float]) -> bool:
    """Whether a window of the turned picture leaves every region that is asked about in one piece."""
    regions = [member.region for member in members if member.region is not None]
    return all(region.turned(symmetry).inside(window) for region in regions)


def uncroppable(sample: Sample) -> bool:
    """Whether words or masks of a sample would not be true of a part of its pictures."""
    task = find_task(sample.task)
    every_class = task.answer == "mask" and sample.mask is None and sample.class_map is not None
    return (
        not (task.croppable or every_class or sample.every)
        or sample.directional
        or (sample.mask is not None and not sample.every)
        or has_coordinates(sample.instruction, *sample.responses)
    )


def target_numbers(masks: Sequence[np.ndarray], size: int | None) -> Tensor:
    """(H, W) bool each -> (size, size) uint8: the number, from 1, of the mask that covers most of a pixel and at least
    half of it; of every pixel as it is where ``size`` is None."""
    covered = torch.from_numpy(np.stack(masks)).float()[None]  # (1, n, H, W)
    if size is not None and covered.shape[2:] != (size, size):
        covered = functional.interpolate(covered, (size, size), mode="area")
    most, number = covered[0].max(0)
    return torch.where(most >= 0.5, number + 1, 0).to(torch.uint8)

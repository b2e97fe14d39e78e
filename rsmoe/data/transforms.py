"""uint8 pictures to normalised pixels, with augmentation that keeps the text true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsmoe.data.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError

_CROP_TASKS = ("caption", "retrieval")
"""Tasks whose text survives a mild crop; a count, a place, a change or a mask may be about the border."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """One sample, ready for a batch. S is the side in pixels."""

    pixels: Tensor
    """(T, C, S, S) float32, normalised."""
    mask: Tensor | None
    """(S, S) float32 in {0, 1}."""


def resize(image: np.ndarray, size: int) -> Tensor:
    """(H, W, C) uint8 -> (C, size, size) uint8, bicubic and antialiased; the aspect ratio is not kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)  # (C, H, W)
    if pixels.shape[1:] == (size, size):
        return pixels.contiguous()
    scaled = functional.interpolate(pixels[None].float(), (size, size), mode="bicubic", antialias=True)[0]
    return scaled.round().clamp(0, 255).to(torch.uint8)


class Transform:
    """Augments and normalises the pictures of one sample; all its dates and its mask get the same geometry.

    With ``augment``: one of the eight flips and quarter turns, unless ``Sample.directional``; a crop of at least
    ``crop_area`` of the picture, only for captions and retrieval without direction words and masks; brightness and
    contrast, each date its own, hue never (colour words must stay true).

    Args:
        size: S, side of the output in pixels.
        mean, std: of each band on the scale 0-1; their length is the number of bands.
        augment: True for training.
        crop_area: least share of the area that a crop keeps; 1 turns crops off.
        jitter: greatest relative change of brightness and of contrast; 0 turns it off.

    Raises:
        UserError: for ``mean`` and ``std`` of different lengths, or options out of range.
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
    ) -> None:
        if not mean or len(mean) != len(std):
            raise UserError(f"mean has {len(mean)} values and std {len(std)}; both need one per band")
        if size < 1 or not 0 < crop_area <= 1 or not 0 <= jitter < 1 or min(std) <= 0:
            raise UserError(
                f"size={size}, crop_area={crop_area}, jitter={jitter}, std={list(std)}: expected size >= 1, "
                "0 < crop_area <= 1, 0 <= jitter < 1, std > 0"
            )
        self.size, self.bands = size, len(mean)
        self.augment, self.crop_area, self.jitter = augment, crop_area, jitter
        self._mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)

    def __call__(self, images: Sequence[Tensor], *, sample: Sample, generator: torch.Generator) -> Views:
        """Pictures (C, S, S) uint8, as `resize` makes them, to `Views`.

        Args:
            images: T pictures of ``sample``.
            sample: whose mask, task and words decide what may be done.
            generator: source of every random choice.

        Raises:
            UserError: for another number of bands than ``mean`` has.
        """
        for image in images:
            if image.shape[0] != self.bands:
                raise UserError(
                    f"sample {sample.id!r} of {sample.source!r} has {image.shape[0]} bands, expected {self.bands}. "
                    f"Set bands={image.shape[0]} and one mean and std per band, or choose data with {self.bands} bands"
                )
        pixels = torch.stack(list(images)).float() / 255  # (T, C, S, S)
        mask = None if sample.mask is None else _resize_mask(read_array(sample.mask), self.size)
        if self.augment:
            if self.crop_area < 1 and sample.task in _CROP_TASKS and not sample.directional and mask is None:
                pixels = self._crop(pixels, generator)
            if not sample.directional:
                pixels, mask = _turn(pixels, mask, generator)
            pixels = self._relight(pixels, generator)
        return Views(pixels=(pixels - self._mean) / self._std, mask=mask)

    def _crop(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        area, aspect, x, y = torch.rand(4, generator=generator).tolist()
        side = math.sqrt(self.crop_area + (1 - self.crop_area) * area) * self.size
        stretch = 1.1 ** (2 * aspect - 1)
        height = min(self.size, max(1, round(side * stretch)))
        width = min(self.size, max(1, round(side / stretch)))
        top, left = round(y * (self.size - height)), round(x * (self.size - width))
        window = pixels[..., top : top + height, left : left + width]
        return functional.interpolate(window, (self.size, self.size), mode="bilinear", antialias=True)

    def _relight(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        change = 1 + self.jitter * (2 * torch.rand(2, len(pixels), 1, 1, 1, generator=generator) - 1)
        brightness, contrast = change
        level = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return ((pixels - level) * contrast + level * brightness).clamp(0, 1)


def _turn(pixels: Tensor, mask: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """One of the eight symmetries of the square, the same for all dates and the mask."""
    choice = int(torch.randint(8, (), generator=generator))

    def turned(image: Tensor) -> Tensor:
        image = torch.rot90(image, choice % 4, dims=(-2, -1))
        return image.flip(-1) if choice >= 4 else image

    return turned(pixels), None if mask is None else turned(mask)


def _resize_mask(mask: np.ndarray, size: int) -> Tensor:
    """(H, W) bool -> (size, size) float in {0, 1}: a pixel is set when at least half of it is."""
    covered = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]  # (1, 1, H, W)
    if covered.shape[2:] != (size, size):
        covered = functional.interpolate(covered, (size, size), mode="area")
    return (covered[0, 0] >= 0.5).float()

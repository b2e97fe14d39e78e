"""Cache in memory, up to a bound, of decoded and resized pictures, class maps and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.sample import Lazy, Sample
from rsmoe.data.transforms.transforms import nearest, resize, target_numbers


class ImageCache:
    """Decodes a file once; a small data set then costs no more decoding, on one core the slowest part of a step.

    Filled until ``max_bytes`` and left so: in shuffled order every picture is as likely to be next as any other, and
    evicting one for another gains nothing. Each loader worker has its own; pickling leaves the pictures behind.

    Args:
        size: side in pixels that pictures are resized to; None keeps them as they are.
        max_bytes: bound on what is kept; 0 keeps nothing.
    """

    def __init__(self, *, size: int | None, max_bytes: int) -> None:
        self.size, self.max_bytes = size, max_bytes
        self._kept: dict[Path | str, Tensor] = {}
        self._bytes = 0

    def __call__(self, source: Path | np.ndarray | Lazy) -> Tensor:
        """(C, size, size) uint8, or (C, H, W) without a size, of a file, or of an array, which is never kept; not to be
        changed in place.

        Raises:
            UserError: when the picture cannot be read, see `load_image`.
        """
        if isinstance(source, np.ndarray):
            return self._sized(source)
        key = source if isinstance(source, Path) else source.key
        kept = self._kept.get(key)
        if kept is None:
            kept = self._sized(source)
            self._keep(key, kept)
        return kept

    def class_map(self, source: np.ndarray | Lazy) -> Tensor:
        """(size, size) uint8, or (H, W), of a class map, the class at the middle of each pixel; not to be changed in
        place.
        """
        kept = None if isinstance(source, np.ndarray) else self._kept.get(source.key)
        if kept is None:
            whole = torch.from_numpy(np.ascontiguousarray(read_array(source)))
            kept = whole if self.size is None else nearest(whole, self.size).contiguous()
            if not isinstance(source, np.ndarray):
                self._keep(source.key, kept)
        return kept

    def numbers(self, sample: Sample) -> Tensor | None:
        """(size, size) uint8, or (H, W), of the targets of a sample, see `target_numbers`; None without a mask; not to
        be changed in place.

        Raises:
            UserError: when a mask cannot be read.
        """
        masks = sample.masks or (() if sample.mask is None else (sample.mask,))
        if not masks:
            return None
        named = [mask.key for mask in masks if not isinstance(mask, np.ndarray)]
        key = "numbers:" + " ".join(named) if len(named) == len(masks) else None
        kept = None if key is None else self._kept.get(key)
        if kept is None:
            kept = target_numbers([read_array(mask) for mask in masks], self.size)
            if key is not None:
                self._keep(key, kept)
        return kept

    def _sized(self, source: Path | np.ndarray | Lazy) -> Tensor:
        pixels = load_image(source)
        return torch.from_numpy(pixels).permute(2, 0, 1) if self.size is None else resize(pixels, self.size)

    def _keep(self, key: Path | str, tensor: Tensor) -> None:
        if self._bytes + tensor.nbytes <= self.max_bytes:
            self._kept[key] = tensor
            self._bytes += tensor.nbytes

    def __len__(self) -> int:
        return len(self._kept)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_bytes": 0}

"""What differs between two dates without anything having changed: light, season, air, sensor, geometry, bands.

Each disturbance acts on the second date alone. The first date stays the frame of reference: masks stay where they are,
and where a moved or turned second date no longer shows the ground of the first, its picture repeats its edge and
nothing is known.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsmoe.errors import UserError

_AIR = (0.80, 0.84, 0.90, 0.80)
"""Colour of the light that the air scatters: bluish, less in the near infrared."""
_DRY = (1.35, 0.95, 0.60, 0.60)
"""What autumn does to the bands of a green leaf, at its full strength."""


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One kind of disturbance, at any strength.

    A strength of 0 gives the picture back as it is. What is drawn (a direction, a sign, noise) depends on ``seed``
    alone, so that a growing strength is the same disturbance, only stronger.
    """

    name: str
    unit: str
    """Of the strength."""
    strengths: tuple[float, ...]
    """Those of a study, ascending."""
    change: Callable[[Tensor, np.random.Generator, float], tuple[Tensor, Tensor | None]]
    """(C, H, W) float 0-1, source of chance, strength -> the same, and (H, W) bool where it shows the ground, or None
    for everywhere."""
    levels: tuple[str, ...] = ()
    """Names of ``strengths`` that are steps of a kind."""
    none: float = 0.0
    """What a strength of 0 is in ``unit``: a ratio of 1."""

    def __call__(self, image: np.ndarray, *, strength: float, seed: str) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, C) uint8 -> the disturbed picture, and (H, W) bool: where it shows the ground that it showed.

        Raises:
            UserError: a negative strength, or one that is no level.
        """
        if strength < 0 or (self.levels and strength not in (0, *self.strengths)):
            usual = ", ".join(f"{s:g}" for s in self.strengths)
            raise UserError(f"{self.name} of strength {strength:g}: expected 0 or more, for instance {usual}")
        known = np.ones(image.shape[:2], dtype=bool)
        if strength == 0:
            return image, known
        rng = np.random.default_rng(zlib.crc32(f"{self.name}/{seed}".encode()))
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
        changed, seen = self.change(pixels, rng, strength)
        picture = (255 * changed).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        return np.ascontiguousarray(picture), known if seen is None else seen.numpy()


def _illumination(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """Gain and gamma, each up or down by the strength."""
    gain, gamma = ((1 + strength) ** float(sign) for sign in rng.choice((-1, 1), 2))
    return (gain * x.pow(gamma)).clamp(0, 1), None


def _season(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """Green turns to dry, by how green it is (excess green, Woebbecke et al. 1995); the rest stays."""
    if len(x) < 3:
        return x, None
    green = ((2 * x[1] - x[0] - x[2]) / x[:3].sum(0).clamp_min(1e-3) * 4).clamp(0, 1)
    gains = 1 + strength * (x.new_tensor((_DRY * 8)[: len(x)]) - 1)
    return (x * (1 + green * (gains[:, None, None] - 1))).clamp(0, 1), None


def _haze(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """Koschmieder's law: what the air takes from the ground it gives back as its own light."""
    air = x.new_tensor((_AIR * 8)[: len(x)])[:, None, None]
    return x * (1 - strength) + air * strength, None


def _blur(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """Gaussian of this deviation in pixels."""
    reach = min(math.ceil(3 * strength), min(x.shape[1:]) - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / strength) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(x[:, None], (reach,) * 4, mode="reflect")  # (C, 1, H + 2r, W + 2r)
    return functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[:, 0], None


def _noise(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """Gaussian of this deviation in grey levels, independent in every pixel and band."""
    return x + strength / 255 * torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32)), None


def _shift(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, Tensor]:
    angle = rng.uniform(0, 2 * math.pi)
    return _moved(x, 0.0, strength * math.cos(angle), strength * math.sin(angle))


def _rotation(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, Tensor]:
    return _moved(x, strength * float(rng.choice((-1, 1))), 0.0, 0.0)


def _resolution(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """A pixel that is 1 + strength times as wide, brought back to the grid of the first date."""
    height, width = x.shape[1:]
    small = [max(1, round(side / (1 + strength))) for side in (height, width)]
    coarse = functional.interpolate(x[None], small, mode="bilinear", antialias=True, align_corners=False)
    return functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0], None


def _bands(x: Tensor, rng: np.random.Generator, strength: float) -> tuple[Tensor, None]:
    """1, 2: each band its own gain of up to 20, 40 %; 3: one band holds its mean; 4: bands in the wrong order."""
    if strength <= 2:
        gains = 1 + 0.2 * strength * torch.from_numpy(rng.choice((-1.0, 1.0), len(x)) * rng.uniform(0.5, 1, len(x)))
        return x * gains.to(x.dtype)[:, None, None], None
    if strength == 3:
        x = x.clone()
        band = int(rng.integers(len(x)))
        x[band] = x[band].mean()
        return x, None
    return x.flip(0), None


def _moved(x: Tensor, angle_deg: float, right_px: float, down_px: float) -> tuple[Tensor, Tensor]:
    """Turned about its middle, then moved; bilinear, and (H, W) bool where the ground is still in the picture."""
    height, width = x.shape[1:]
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    y, x_ = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    across, down = x_ - width / 2 - right_px, y - height / 2 - down_px
    grid = torch.stack([2 / width * (cos * across + sin * down), 2 / height * (cos * down - sin * across)], dim=-1)
    moved = functional.grid_sample(x[None], grid[None].to(x.dtype), padding_mode="border", align_corners=False)[0]
    return moved, (grid.abs() <= 1).all(-1)


PERTURBATIONS: dict[str, Perturbation] = {
    p.name: p
    for p in (
        Perturbation(
            name="illumination", unit="gain and gamma", strengths=(0.1, 0.2, 0.35, 0.5), change=_illumination
        ),
        Perturbation(name="season", unit="dryness of green", strengths=(0.25, 0.5, 0.75, 1.0), change=_season),
        Perturbation(name="haze", unit="share of air light", strengths=(0.1, 0.2, 0.35, 0.5), change=_haze),
        Perturbation(name="blur", unit="sigma, px", strengths=(0.5, 1.0, 1.5, 2.0, 3.0), change=_blur),
        Perturbation(name="noise", unit="sigma, grey levels", strengths=(4.0, 8.0, 16.0, 32.0), change=_noise),
        Perturbation(name="misregistration", unit="px", strengths=(0.5, 1.0, 2.0, 4.0, 8.0), change=_shift),
        Perturbation(name="rotation", unit="degrees", strengths=(0.5, 1.0, 2.0, 3.0), change=_rotation),
        Perturbation(name="resolution", unit="ratio", strengths=(0.5, 1.0, 2.0, 3.0), change=_resolution, none=1.0),
        Perturbation(
            name="bands", unit="", strengths=(1.0, 2.0, 3.0, 4.0), change=_bands,
            levels=("gain 20 %", "gain 40 %", "dropped", "swapped"),
        ),
    )
}  # fmt: skip
"""Everything that a stress study tries, by name."""

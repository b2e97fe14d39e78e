"""Vision contract: pixels -> `VisionFeatures`.

An encoder is an ``nn.Module`` in one file with one yaml in ``conf/vision/``:

- ``forward(pixels: (N, C, H, W) float) -> VisionFeatures`` with leading dimension N (= B*T, the model folds time in);
- ``width: int`` D of the tokens; ``pyramid_widths: tuple[int, ...]`` channels, finest level first;
- optionally ``trunk`` (a module), ``features(pixels)`` and ``outputs(features)``, see `rsmoe.vision.frozen`: what can
  be computed once where the trunk is frozen, and what is made of it;
- ``bands: int`` C; another number of bands raises `rsmoe.errors.UserError`.
"""

from rsmoe.vision.features import VisionFeatures

__all__ = ["VisionFeatures"]

"""What encoders check of their input, and how a stem for RGB takes other bands."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsmoe.errors import UserError
from rsmoe.weights.pretrained import parent_of


def check_pixels(pixels: Tensor, *, bands: int, multiple: int) -> None:
    """Refuses pixels that are not (N, ``bands``, H, W) with H and W multiples of ``multiple``.

    Raises:
        UserError: names what was given and expected.
    """
    if pixels.ndim != 4 or pixels.shape[1] != bands:
        raise UserError(
            f"pixels have shape {tuple(pixels.shape)}, expected (N, {bands}, H, W): the encoder was built for "
            f"{bands} bands. Set bands={pixels.shape[1] if pixels.ndim == 4 else '<number of bands>'} or choose bands"
        )
    height, width = pixels.shape[-2:]
    if height % multiple or width % multiple or not (height and width):
        near = max(multiple, round(height / multiple) * multiple)
        raise UserError(
            f"images are {height} x {width} px, expected multiples of {multiple} px. Set for example image_size={near}"
        )


def check_rgb(names: Sequence[str], *, where: str) -> None:
    """Refuses bands that do not begin with red, green, blue, which is what pretrained encoders have learned to read.

    A file that does not name its bands ("band 1"), or has fewer than three, is passed over.

    Args:
        names: of the bands, in the order in which they are read.
        where: what they are of, for the message.

    Raises:
        UserError: names the bands that were found.
    """
    first = [name.lower() for name in names[:3]]
    known = len(first) == 3 and not any(name.startswith("band ") for name in first)
    if known and first not in (["red", "green", "blue"], ["r", "g", "b"]):
        raise UserError(
            f"{where} is read as {', '.join(names)}: a pretrained encoder expects red, green, blue in that order, and "
            "further bands behind them. Give raster.bands=[red,green,blue], by their names or numbers there"
        )


def inflate_bands(module: nn.Module, bands: int) -> None:
    """Makes the first convolution of ``module`` (its stem, over 3 bands) take ``bands`` bands, in place.

    The first three bands, which must be red, green, blue, keep their weights, a further band (near infrared, ...)
    takes the mean of the three, and all are scaled by 3 / ``bands``: a grey image, equal in all bands, gives the
    response that it gave before. With fewer than three bands, each takes the mean.
    """
    name, stem = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
    if stem.in_channels == bands:
        return
    rgb = stem.weight.detach()  # (D, 3, k, k)
    mean = rgb.mean(1, keepdim=True)
    weight = torch.cat([rgb, mean.expand(-1, bands - 3, -1, -1)], 1) if bands > 3 else mean.expand(-1, bands, -1, -1)
    wide = nn.Conv2d(
        bands,
        stem.out_channels,
        stem.kernel_size,  # type: ignore[arg-type]
        stride=stem.stride,  # type: ignore[arg-type]
        padding=stem.padding,  # type: ignore[arg-type]
        bias=stem.bias is not None,
    )
    wide.weight = nn.Parameter(weight * (3 / bands))
    wide.bias = stem.bias
    parent, leaf = parent_of(module, name)
    setattr(parent, leaf, wide)
    if hasattr(parent, "num_channels"):  # transformers checks the input against it
        parent.num_channels = bands  # type: ignore[assignment]

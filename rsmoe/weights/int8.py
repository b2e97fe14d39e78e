"""Weights as whole numbers of eight bits: a quarter of float32 on disk."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = "::scale"
"""Behind the name of a weight: the name of its scales."""


def quantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rounds every matrix and kernel to int8 with one scale a row; vectors and whole numbers stay as they are.

    A row w (the weights of one output of a kernel, else the last dimension) becomes ``round(w / s)`` with
    ``s = max |w| / 127``, so that no weight moves by more than s / 2.

    Args:
        state: name -> weight.

    Returns:
        name -> int8 weight of the same shape, and name + `SCALE` -> float32 scales, one a row.
    """
    rounded: dict[str, Tensor] = {}
    for name, weight in state.items():
        if weight.ndim < 2 or not weight.is_floating_point() or not weight.numel():
            rounded[name] = weight
            continue
        rows = _rows(weight.float())
        scale = rows.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        rounded[name] = (rows / scale[:, None]).round().to(torch.int8).view(weight.shape)
        rounded[f"{name}{SCALE}"] = scale
    return rounded


def restored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `quantised` rounded, as float32; anything else as it is."""
    whole: dict[str, Tensor] = {}
    for name, weight in state.items():
        if name.endswith(SCALE):
            continue
        scale = state.get(f"{name}{SCALE}")
        whole[name] = weight if scale is None else (_rows(weight) * scale[:, None]).view(weight.shape)
    return whole


def _rows(weight: Tensor) -> Tensor:
    return weight.flatten(1) if weight.ndim == 4 else weight.flatten(0, -2)

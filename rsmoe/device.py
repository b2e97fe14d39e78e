"""Which device a model is asked on."""

from __future__ import annotations

import re

import torch

from rsmoe.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device that a command's key ``device`` names.

    Args:
        name: "auto" (CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        UserError: another name, or a device that this machine has not, or torch does not see.
    """
    given = str(name)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", given):
        raise UserError(f"device={given}: expected auto, cpu, cuda, cuda:1 (the second one) or mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if given == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, place = given.partition(":")
    if kind == "cuda" and int(place or 0) >= count:
        seen = f"{count} CUDA device{'s' * (count > 1)}, cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
        raise UserError(f"device={given}: torch {torch.__version__} sees {seen} here. Give device=cpu, or device=auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            f"device=mps: torch {torch.__version__} sees no Apple GPU here. Give device=cpu, or device=auto"
        )
    return torch.device(given)

"""Precisions that Lightning alone does not train with here: half parameters, and fp16 on a processor."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.plugins import HalfPrecision, MixedPrecision

from rsmoe.errors import unknown_name

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "bf16-true")
"""What ``trainer.precision`` may be; 32, 16 and bf16 are short for the first three. Not 16-true: AdamW's epsilon of
1e-8 is 0 in fp16, and its updates NaN."""

_SHORT = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


class TrueHalf(HalfPrecision):
    """Parameters, gradients and optimiser states in bf16; a `Batch` is taken as it is.

    Lightning would convert every tensor that it finds in a batch, and refuses frozen dataclasses; `RSMoE.see` gives the
    pixels the type of the encoder. New tensors are fp32 as ever: targets of losses, and the gate's numbers.
    """

    def convert_input(self, data: Any) -> Any:
        """The batch itself."""
        return data

    @contextmanager
    def forward_context(self) -> Generator[None]:
        """Nothing: Lightning's own would make bf16 the type of every new tensor."""
        yield


def precision_options(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """``precision`` and ``plugins`` of ``lightning.pytorch.Trainer`` for the ``precision`` of its config.

    Args:
        trainer: the config; without a precision, Lightning's default or a plugin of the user's decides.

    Raises:
        UserError: a precision that there is not.
    """
    given = trainer.get("precision")
    if given is None:
        return {"precision": None, "plugins": []}
    name: Any = _SHORT.get(str(given), str(given))
    if name not in PRECISIONS:
        raise unknown_name("trainer.precision", str(given), PRECISIONS)
    if name == "bf16-true":
        return {"precision": None, "plugins": [TrueHalf(name)]}
    if name == "16-mixed" and (trainer.get("accelerator") == "cpu" or not torch.cuda.is_available()):
        # Lightning would train in bf16 instead, with no more than a warning
        scaler = torch.amp.GradScaler("cpu")
        return {"precision": None, "plugins": [MixedPrecision("16-mixed", device="cpu", scaler=scaler)]}
    return {"precision": name, "plugins": []}

"""Keys of ``python -m rsmoe.commands.adapters``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import OutFolder, PathWord


class Adapters(Settings):
    """Writes every expert of a trained model as a LoRA adapter that PEFT and vLLM load."""

    module: ClassVar[str] = "rsmoe.commands.adapters"
    examples: ClassVar[tuple[str, ...]] = (
        "checkpoint=runs/rsicap_moe out=adapters",
        "checkpoint=runs/rsicap_moe/2026-01-31_12-00-00/checkpoints/2-experts.ckpt out=adapters",
        "checkpoint=saved out=adapters",
    )

    checkpoint: PathWord = Field(description="a run folder, a checkpoint file, or a folder of save_pretrained")
    out: OutFolder = Field(description="a folder for one folder an expert, and base/ where no published model fits")

"""Keys of ``python -m rsmoe.commands.export``."""

from __future__ import annotations

from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import OutFolder, PathWord


class Export(Settings):
    """Writes a trained model as files that others load: safetensors, a PEFT adapter an expert, a card with commands."""

    examples = (
        "checkpoint=starter out=exported",
        "checkpoint=runs/rsicap_moe out=exported",
        "checkpoint=runs/rsicap_moe/2026-01-31_12-00-00/checkpoints/2-experts.ckpt out=exported",
    )

    checkpoint: PathWord = Field(description="starter, a run folder, a checkpoint file, or a folder of save_pretrained")
    out: OutFolder = Field(
        description="a folder for model.safetensors, README.md, <expert>/ for each, base/ where no published model fits"
    )

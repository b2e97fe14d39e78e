"""The embedder of a checkpoint, of whatever kind it is."""

from __future__ import annotations

from pathlib import Path

from rsmoe.archive import Embedder
from rsmoe.archive.dual_embedder import DualEmbedder
from rsmoe.archive.mixture_embedder import MixtureEmbedder
from rsmoe.contrast.open_dual import is_dual_path


def open_embedder(checkpoint: str, *, device: str) -> Embedder:
    """Of a dual encoder (a run of `rsmoe.commands.contrast`, a CLIP or SigLIP folder), or of a mixture.

    Raises:
        UserError: it is neither, cannot be read, or is a mixture without a retrieval expert.
    """
    if is_dual_path(Path(checkpoint)):
        return DualEmbedder.open(checkpoint, device=device)
    return MixtureEmbedder.open(checkpoint, device=device)

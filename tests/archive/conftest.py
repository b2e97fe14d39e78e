"""The model of the commands."""

from __future__ import annotations

import pytest
from support.colour_archive import ColourEmbedder

from rsmoe.archive.mixture_embedder import MixtureEmbedder


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> ColourEmbedder:
    """Knows colours alone."""
    made = ColourEmbedder()
    monkeypatch.setattr(MixtureEmbedder, "open", lambda checkpoint, *, device: made)
    return made

"""The language model that adapters were trained on, as others load it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from rsmoe.experts.new_words import NewWords
from rsmoe.weights.bases import Base, plain


def published_name(lm: Any, words: NewWords | None = None) -> str | None:
    """Name or folder that ``lm`` was loaded from; None where it has other weights by now.

    Those are weights that a stage has trained, rows of new tokens, and a model that began with random weights.
    """
    if words is not None and any(bool(vectors.any()) for vectors in words.parameters()):
        return None
    base, state = getattr(lm, "loaded_base", None), _own(lm)
    if not isinstance(base, Base) or set(base.tensors) != set(state):
        return None
    grown = any(tensor.ndim and len(tensor) != base.tensors[name][0] for name, tensor in state.items())
    return None if grown or len(base.untouched(state)) < len(state) else base.name


def write_base(lm: Any, folder: Path, *, words: NewWords | None = None) -> None:
    """Writes ``lm`` without its adapters, for ``AutoModelForCausalLM.from_pretrained``; new words are in its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    # a full disk or an interruption leaves nothing half-written under the final names
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as work:
        lm.save_pretrained(work, state_dict=_own(lm, words))
        for name in sorted(os.listdir(work)):
            os.replace(Path(work) / name, folder / name)


def _own(lm: Any, words: NewWords | None = None) -> dict[str, Tensor]:
    state = {plain(name): tensor for name, tensor in lm.state_dict().items() if ".lora_" not in name}
    if words is None:
        return state
    tables = [lm.get_input_embeddings().weight, lm.get_output_embeddings().weight]
    places = [table.data_ptr() for table in tables]
    folded = dict(zip(places, words.folded(*tables), strict=True))
    return {name: folded.get(tensor.data_ptr(), tensor) for name, tensor in state.items()}

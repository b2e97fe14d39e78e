"""Class names, and the cells of pictures, in the space of a dual encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.contrast.build import load_dual, text_tokens
from rsmoe.contrast.dual_encoder import DualEncoder
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.readers.prompt_ensembles import ENSEMBLES
from rsmoe.device import pick_device
from rsmoe.errors import UserError
from rsmoe.files import sha256_of_file
from rsmoe.training.checkpoints import find_checkpoint, is_dual, load_checkpoint

FINEST = 16
"""Stride of the finest level that guides the aggregation."""


class OpenNames:
    """A dual encoder whose every cell is asked for names.

    Args:
        model: in eval mode, with an encoder whose tokens are the cells of its coarsest level.
        tokens: of its text tower.
        config: of its run.
        fingerprint: of its weights.
    """

    def __init__(self, *, model: DualEncoder, tokens: TextTokens, config: Mapping[str, Any], fingerprint: str) -> None:
        self.model, self.tokens, self.config, self.fingerprint = model, tokens, config, fingerprint

    @classmethod
    def open(cls, checkpoint: str, *, device: str) -> OpenNames:
        """Of a run of `rsmoe.commands.contrast`.

        Raises:
            UserError: it is none, or its encoder is no EfficientNet-Lite.
        """
        path = find_checkpoint(Path(checkpoint))
        loaded = load_checkpoint(path)
        if not is_dual(loaded):
            raise UserError(
                f"{checkpoint} is no dual encoder: train one, python -m rsmoe.commands.contrast recipe=clip_ucm_rsicd, "
                "and give its run folder"
            )
        model, codec, config = load_dual(loaded, finest=FINEST)
        fingerprint = sha256_of_file(path)
        return cls(
            model=model.to(pick_device(device)),
            tokens=text_tokens(model, codec),
            config=config,
            fingerprint=fingerprint,
        )

    @torch.inference_mode()
    def embed(self, names: Mapping[str, Sequence[str]]) -> Tensor:
        """T names, each with the words that stand for it -> (T, dim) of length 1: means over words and sentences.

        Raises:
            UserError: a name without a word that the text tower has read.
        """
        device = next(self.model.parameters()).device
        found = []
        for name, words in names.items():
            known = [word for word in words if word.strip() and not self.tokens.codec.unknown_words(word)]
            if not known:
                unknown = ", ".join(sorted({u for word in words for u in self.tokens.codec.unknown_words(word)}))
                raise UserError(
                    f"names: {name!r} has no words that this text tower has read (unknown: {unknown or 'no word'}). "
                    f"Give words that it knows beside the name: names={{{name}:[bare land,sand]}}"
                )
            ids, mask = self.tokens([text.format(response=word) for word in known for text in ENSEMBLES["skyscript"]])
            each = self.model.embed_texts(ids.to(device), mask.to(device)).unflatten(0, (len(known), -1)).mean(1)
            found.append(F.normalize(F.normalize(each, dim=-1).mean(0), dim=0))
        return torch.stack(found)

    @torch.inference_mode()
    def cells(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(n, C, H, W) normalised pixels -> embeddings (n, dim, h, w) of length 1 of the cells of the coarsest level,
        each as if it were a picture, and the pyramid (n, D_l, h_l, w_l), finest first.
        """
        seen = self.model.vision(pixels.contiguous(memory_format=torch.channels_last))
        count, places, _ = seen.tokens.shape
        found = self.model.image(seen.tokens.flatten(0, 1)[:, None]).float()
        cells = F.normalize(found, dim=-1).view(count, places, -1).transpose(1, 2)
        return cells.unflatten(2, seen.pyramid[-1].shape[-2:]), tuple(level.float() for level in seen.pyramid)

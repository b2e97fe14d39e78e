"""What the model sees: tensors only, apart from the samples that metrics read."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from rsmoe.data.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B requests on I views, a view being the picture or pictures of a sample; requests on the same ones share it.

    Prompts are left-padded and responses right-padded, so that the two join without a gap.
    """

    pixels: Tensor
    """(I, T, C, H, W) float, normalised; views of fewer than T frames are zero-padded at the end. Where the encoder's
    features are given and nothing else reads pixels, H and W are 0."""
    frames: Tensor
    """(I,) long: valid frames of each view."""
    view: Tensor
    """(B,) long: the view that each request is about."""
    instruction_ids: Tensor
    """(B, Li) long, right-padded, in the Q-Former's vocabulary."""
    instruction_mask: Tensor
    """(B, Li) bool."""
    prompt_ids: Tensor
    """(B, Lp) long, left-padded, in the language model's vocabulary."""
    prompt_mask: Tensor
    """(B, Lp) bool."""
    response_ids: Tensor
    """(B, Lr) long, right-padded; ends with the end token. (B, 0) at inference."""
    response_mask: Tensor
    """(B, Lr) bool."""
    text_ids: Tensor
    """(B, Lt) long, right-padded: the caption that a "retrieval" sample's image is matched with; (B, 0) if none."""
    text_mask: Tensor
    """(B, Lt) bool."""
    task: Tensor
    """(B,) long index into `rsmoe.data.tasks.task_names`. Supervises the router; never read by `RSMoE.generate`."""
    masks: Tensor
    """(B, H, W) uint8 at the pixels' size: the number of the target that a pixel is of, from 1, in the order of
    `Sample.masks`; 0 of none, as everywhere where the sample has no mask."""
    has_mask: Tensor
    """(B,) bool."""
    class_map: Tensor
    """(I, H, W) uint8: the class of each pixel of a picture, or the kind of change of each pixel of a pair, 0 none; 255
    where it is unknown."""
    times: Tensor | None = None
    """(I, T) float, days from each view's first frame, of ``Sample.meta["days"]``; None where a sample has none."""
    regions: Tensor | None = None
    """(B, H, W) bool at the pixels' size: the region that each request is about, empty where it is about all of the
    picture; None where all are."""
    features: tuple[Tensor, ...] | None
    """(I, T, ...) each: what the frozen part of the encoder has computed of the pixels before, see
    `rsmoe.vision.frozen`; None: pixels are encoded."""
    samples: tuple[Sample, ...]
    """The B samples, for metrics and pictures; in training as they are asked, with the words of the turned picture."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        features = None if self.features is None else tuple(level.to(device) for level in self.features)
        moved = {name: tensor.to(device) for name, tensor in self._tensors().items()}
        return replace(self, **moved, features=features)

    def take(self, places: list[int]) -> Batch:
        """The requests at these places, in that order."""
        index = torch.tensor(places, dtype=torch.long, device=self.frames.device)
        seen, view = self.view[index].unique(return_inverse=True)
        of_views = [name for name in ("pixels", "frames", "class_map", "times") if getattr(self, name) is not None]
        own = {name: getattr(self, name)[seen] for name in of_views} | {"view": view}
        chosen = own | {name: tensor[index] for name, tensor in self._tensors().items() if name not in own}
        features = None if self.features is None else tuple(level[seen] for level in self.features)
        return replace(self, **chosen, features=features, samples=tuple(self.samples[i] for i in places))

    def __len__(self) -> int:
        return len(self.samples)

    def _tensors(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

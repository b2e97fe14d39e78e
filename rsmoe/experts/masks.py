"""The expert for several masks: each [SEG] of a reply becomes the mask of one target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.checks.ranges import Depth, Positive
from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.experts.class_memory import ClassMemory
from rsmoe.experts.expert import HeadInput
from rsmoe.experts.mask_decoder import MaskDecoder, Masks
from rsmoe.experts.seg import SegExpert, pixel_bce, soft_dice
from rsmoe.experts.seg_matching import matched
from rsmoe.maps.decoder import resized


class MasksExpert(SegExpert):
    """Referring segmentation of one target, several or none: a [SEG] for each, see `MaskDecoder`.

    A reply says how many targets there are by how many [SEG] it holds. In training each is matched with one true mask;
    a single [SEG] has the union of all of them, and an empty mask where nothing is there. A pair that a map of change
    describes has no mask of its own: its [SEG] stands for that map.

    [SEG] states as queries are LISA's (arXiv 2308.00692).

    Args:
        width: C, channels of the decoder; a multiple of 8.
        layers: of the decoder.
        heads: of its attention.
        memory: none, "class" (slots of each class) or "slots" (shared by all), see `ClassMemory`.
        classes: of memory=class: names that `Sample.kind` has. The class is predicted from the [SEG] states; in
            training the name teaches it.
        slots: of the memory, of each class.
        name, tasks, template, hidden_width, pyramid_widths: as in `Expert`.

    Raises:
        UserError: memory=class without two classes at least, or classes without it.
    """

    terms: Mapping[str, float] = {"mask_bce": 5.0, "mask_dice": 5.0, "mask_point": 0.5, "mask_class": 0.5}

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[str],
        template: str = "{instruction}",
        hidden_width: Positive,
        pyramid_widths: Sequence[Positive],
        width: Positive = 64,
        layers: Depth = 3,
        heads: Positive = 4,
        memory: Literal["none", "class", "slots"] = "none",
        classes: Sequence[str] = (),
        slots: Positive = 8,
    ) -> None:
        super().__init__(
            name=name, tasks=tasks, template=template, hidden_width=hidden_width, pyramid_widths=pyramid_widths
        )
        if (memory == "class") != (len(classes) > 1):
            raise UserError(
                f"expert.{name}.memory={memory} with {len(classes)} classes: memory=class takes two or more in "
                f"expert.{name}.classes, the others none"
            )
        if width % 8 or width % heads:
            raise UserError(f"expert.{name}.width={width}, heads={heads}: expected a multiple of 8 and of the heads")
        self.classes = {name: place for place, name in enumerate(classes)}
        bank = None if memory == "none" else ClassMemory(width=width, classes=max(1, len(classes)), slots=slots)
        self.decoder = MaskDecoder(
            hidden_width=hidden_width,
            pyramid_widths=pyramid_widths,
            width=width,
            layers=layers,
            heads=heads,
            memory=bank,
        )

    def decode(self, inputs: HeadInput) -> Masks:
        """Masks of n >= 1 [SEG]."""
        masks: Masks = self.decoder(inputs.hidden, inputs.sample, inputs.view, inputs.pyramid)
        return masks

    def head(self, inputs: HeadInput) -> Tensor:
        """n states -> (n, h, w) logits at the size of the finest level; resize them bilinearly, threshold 0."""
        return self.decode(inputs).layers[-1]

    def losses(self, inputs: HeadInput, batch: Batch) -> dict[str, Tensor]:
        """Means over the replies that have a mask (zero if none has); the [SEG] of a reply count alike.

        - "mask_bce", "mask_dice": pixel cross-entropy and soft dice with the matched masks, mean over the layers of the
          decoder; the weights, 5 each, are Mask2Former's (GeoPix and GeoPixel have 2 and 0.5);
        - "mask_point": cross-entropy of where the targets are, each with an equal share, or nowhere;
        - "mask_class", with memory=class: cross-entropy of `Sample.kind`, where it is one of the classes.
        """
        if bool(inputs.compared.all()):
            return {}
        inputs = inputs[~inputs.compared]
        found = self.decode(inputs)
        sample, count = inputs.sample.unique_consecutive(return_counts=True)
        has = batch.has_mask[sample].float()
        share = has / has.sum().clamp_min(1)  # (g,)
        numbers = batch.masks[sample]  # (g, H, W)
        target = matched(found.layers[-1].detach(), numbers, count.tolist(), terms=self.terms)  # (n, H, W)
        size = (numbers.shape[1], numbers.shape[2])
        small = F.adaptive_avg_pool2d(target, (found.layers[-1].shape[1], found.layers[-1].shape[2]))
        each = (share / count)[found.reply]
        pairs = [(logits, small) for logits in found.layers[:-1]]
        pairs.append((resized(found.layers[-1][:, None], size)[:, 0], target))
        bce = torch.stack([(pixel_bce(logits.float(), t) * each).sum() for logits, t in pairs])
        dice = torch.stack([(soft_dice(logits.float(), t) * each).sum() for logits, t in pairs])
        terms = {"mask_bce": bce.mean(), "mask_dice": dice.mean()}
        area = small.flatten(1).sum(1, keepdim=True)
        place = small.flatten(1) / area.clamp_min(1e-6)
        place = torch.cat([place, (area == 0).float()], dim=1)
        wanted = torch.zeros_like(found.point).index_add(0, found.reply, place / count[found.reply, None])
        terms["mask_point"] = -((wanted * found.point).sum(1) * share).sum()
        if found.classes is not None:
            kinds = [self.classes.get(batch.samples[i].kind, -100) for i in sample.tolist()]
            known = torch.tensor(kinds, device=share.device)
            missed = F.cross_entropy(found.classes.float(), known, reduction="none", ignore_index=-100)
            terms["mask_class"] = (missed * share).sum()
        return terms

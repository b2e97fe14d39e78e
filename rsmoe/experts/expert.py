"""What an expert has beside its adapter: name, tasks, prompt template, and a head on its special token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.data.batch import Batch
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task


@dataclass(frozen=True, kw_only=True)
class HeadInput:
    """Hidden states of the n occurrences of one special token in the responses of a batch; one may hold several."""

    hidden: Tensor
    """(n, D) hidden state that emits the token, mixed over the sample's experts with the router's weights."""
    sample: Tensor
    """(n,) long, ascending: the sample of the batch whose response holds the token."""
    view: Tensor
    """(n,) long: index of that sample's view in the pyramid."""
    pyramid: tuple[Tensor, ...]
    """Feature maps (V, D_l, h, w) of each view's last frame, finest first."""
    compared: Tensor
    """(n,) bool: whether a map of change describes the sample's dates."""
    text_hidden: Tensor | None = None
    """(n, D) the same token after the reference text alone, without the image (retrieval)."""

    def __getitem__(self, index: Tensor) -> HeadInput:
        """Some of the n tokens, by (m,) long or (n,) bool."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {name: value[index] for name, value in tensors.items() if isinstance(value, Tensor)}
        return replace(self, **chosen)


@dataclass(frozen=True, kw_only=True)
class AnswerInput:
    """Input of `Expert.answer`, for the B samples of a batch."""

    inputs: HeadInput
    size_px: Sequence[tuple[int, int]]
    """Height and width of the first picture of each sample."""
    maps: Sequence[Mapping[str, np.ndarray]]
    """Name of a map module -> (H, W) uint8 classes of that picture, for each sample."""


class Expert(nn.Module):
    """A text expert: an adapter of the bank, the tasks it serves, and its prompt template.

    Args:
        name: unique in the model.
        tasks: names of ``conf/task`` that this expert serves.
        template: its prompt with ``prompts=template``; ``{instruction}`` is replaced by the user's instruction.
        hidden_width: D of the language model.
        pyramid_widths: channels of the vision pyramid, finest first.
    """

    token: str | None = None
    """Special token whose hidden state the head reads."""
    terms: Mapping[str, float] = {}
    """Losses of the head and their weights, which ``stage.<name>.losses`` may change."""
    smallest_px: int = 1
    """Pixels of the picture that a thing of its masks has at least."""

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[str],
        template: str = "{instruction}",
        hidden_width: Positive,
        pyramid_widths: Sequence[Positive],
    ) -> None:
        super().__init__()
        for task in tasks:
            find_task(task)
        self.name, self.tasks, self.template = name, tuple(tasks), template

    def head(self, inputs: HeadInput) -> Tensor:
        """Output of the head for each of the n tokens; only called if `token` is set."""
        raise TypeError(f"expert {self.name!r} has no head: it defines no special token")

    def losses(self, inputs: HeadInput, batch: Batch) -> dict[str, Tensor]:
        """Named losses of the head; only called if `token` is set and n >= 1."""
        return {}

    def answer(self, request: AnswerInput) -> Mapping[int, Mapping[str, Any]]:
        """Index of a sample whose response holds the token -> its outputs, by the name of a field of
        `rsmoe.metrics.prediction.Prediction`, or of one of its ``outputs``. Of one that marks pixels: "mask", and
        "mask_logits", which are averaged where tiles of a large picture overlap; without them the tiles vote.

        By default, what `head` returns for the last token of the sample, under the name of the expert.
        """
        outputs = self.head(request.inputs).float().cpu().numpy()
        places = request.inputs.sample.tolist()
        return {place: {self.name: np.asarray(output)} for place, output in zip(places, outputs, strict=True)}

    def references(self, sample: Sample, read: Callable[[Sequence[str]], Tensor]) -> Mapping[str, np.ndarray]:
        """Outputs for the references of a sample, likewise, for metrics that compare embeddings; none by default.

        Args:
            read: n texts -> (n, D) hidden states of this expert after each text, without an image.
        """
        return {}

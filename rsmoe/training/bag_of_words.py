"""Bag-of-words loss: which words describe this image, a multi-label loss straight on the visual memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.temporal.memory import VisualMemory


class BagOfWordsHead(nn.Module):
    """Multi-label classifier: mean of the visual memory -> one logit a word, against the share of references with it.

    Perception that starts from random weights learns far faster from this than through a language model; it is the loss
    "words" of a stage, and no part of the model. Idea: visual concepts as attributes for captioning
    (Fang et al., "From Captions to Visual Concepts and Back", CVPR 2015).

    Args:
        width: D of the memory.
        codec: of the language model, whose vocabulary is predicted.
    """

    tasks = ("caption", "change_caption", "retrieval")
    """Tasks whose references describe the whole image."""

    def __init__(self, *, width: int, codec: TextCodec) -> None:
        super().__init__()
        self.codec = codec
        self.predict = nn.Linear(width, codec.vocab_size)
        nn.init.constant_(self.predict.bias, -4.0)  # most words are absent from most images
        self._targets: dict[tuple[str, ...], Tensor] = {}

    def loss(self, memory: VisualMemory, samples: Sequence[Sample]) -> Tensor:
        """Binary cross-entropy, summed over the V words / 10, mean over the samples that describe their image.

        Zero, with gradient, where none of them does.
        """
        described = [i for i, s in enumerate(samples) if s.task in self.tasks]
        logits = self.predict(memory.mean()[described]).float()  # (n, V)
        if not described:
            out: Tensor = logits.sum()
            return out
        target = torch.stack([self._target(samples[i]) for i in described]).to(logits.device)
        return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / (10 * len(described))

    def _target(self, sample: Sample) -> Tensor:
        key = sample.responses
        if key not in self._targets:
            target = torch.zeros(self.codec.vocab_size)
            for response in sample.responses:
                target[list(set(self.codec.encode(response)))] += 1 / len(sample.responses)
            self._targets[key] = target
        return self._targets[key]

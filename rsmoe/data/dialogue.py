"""Requests on one view as the turns of a dialogue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch

from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task

TURNS = 2
"""Most earlier turns that a request is given."""


def in_dialogue(
    samples: Sequence[Sample], answers: Sequence[str], *, seeds: Sequence[int], share: float
) -> tuple[Sample, ...]:
    """Puts a request behind the requests before it that have its seed, with their answers, as its history.

    Requests of one seed are on one view. A turn is a request that is answered in words, otherwise than the one behind
    it; a sample that comes with a history keeps it as it is.

    Args:
        samples, answers: B requests and what answers them.
        seeds: of the B requests; a seed decides for all of its requests.
        share: of the seeds whose requests become a dialogue, 0 to 1.
    """
    turns: dict[int, list[tuple[str, str]]] = defaultdict(list)
    told: list[Sample] = []
    for sample, answer, seed in zip(samples, answers, seeds, strict=True):
        drawn = share > 0 and float(torch.rand((), generator=torch.Generator().manual_seed(seed + 1))) < share
        before = tuple(turn for turn in turns[seed] if turn[1] != answer)[-TURNS:]  # nothing to copy
        told.append(replace(sample, history=before) if drawn and before and not sample.history else sample)
        if find_task(sample.task).in_words:
            turns[seed].append((sample.instruction, answer))
    return tuple(told)

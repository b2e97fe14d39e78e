"""A whole training, from the config to the report, small enough for one core: seconds."""

from __future__ import annotations

from typing import Any

from support.models import tiny_config

FEW = (
    "corpus=scenes",
    "+corpus.described.splits.val=val",
    "+corpus.described.val.size=8",
    "corpus.described.train.size=12",
    "corpus.described.test.size=6",
    "corpus.asked.train.size=12",
    "corpus.asked.test.size=6",
    "corpus.questions.reader.scenes.train=4",
    "corpus.questions.reader.scenes.test=4",
    "evaluation.limit=6",
    "evaluation.max_new=4",
    "evaluation.beams=1",
    "loader.eval_batch_size=4",
    "limit.steps=2",
)
"""Words that make every data set small, with a split "val", and two steps a stage."""


def small_training(*words: str) -> dict[str, Any]:
    """Config of `rsmoe.train.train`: five kinds of experts on generated scenes, two stages of two steps."""
    return tiny_config(*FEW, *words)

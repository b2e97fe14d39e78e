"""ChangeChat's six tasks for any pair with masks: what its rule-based half makes of LEVIR-MCI, and rules for the rest.

Deng et al., "DeltaVLM: Interactive Remote Sensing Image Change Analysis via Instruction-guided Difference Perception",
arXiv:2507.22346; prompts as in its released ``dataset.py``. Its open questions were written with a language model, ours
follow from the facts. Nothing is cut: its text processor stops questions and answers at 50 words, which loses the end
of the third turn of its own dialogues.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

from rsmoe.data.change.answers import CHANGE_CLASSES, read_target, write_cells, write_counts, write_presence
from rsmoe.data.change.facts import PairFacts
from rsmoe.data.change.phrases import plural
from rsmoe.data.change.wording import change_sentences, description, listed, open_questions
from rsmoe.data.readers.annotations import is_directional
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known

KINDS = ("caption", "presence", "count", "location", "open", "dialogue")
"""The six tasks."""

CAPTION = "Please briefly describe the changes in these two images."
"""Instruction of change captioning."""
PRESENCE = "Please judge whether these two images have changed. Please answer yes or no."
"""Instruction of binary change classification."""
DESCRIBE = "Based on the above analysis, please describe the changes of these two images in detail."
"""Instruction of a detailed change description, the last turn of a dialogue."""
SEGMENT = "Please mark everything that has changed between these two images."
"""Instruction of change segmentation."""
SEGMENTED = "the changes are here [SEG]"
"""Answer of change segmentation; its token [SEG] stands for the mask."""


def count_prompt(nouns: Sequence[str] = CHANGE_CLASSES) -> str:
    """ "Please determine how many roads and buildings have changed?", for other nouns too."""
    return f"Please determine how many {_all(nouns)} have changed?"


def location_prompt(nouns: Sequence[str] = CHANGE_CLASSES) -> str:
    """ "Please indicate the locations where changes have occurred in the buildings and roads, using a 3x3 grid ..."."""
    return (
        f"Please indicate the locations where changes have occurred in the {_all(nouns[::-1])}, using a 3x3 grid "
        "(namely, 'top', 'center', and 'bottom' vertically and 'left', 'center', 'right' horizontally)."
    )


def dialogue_count_prompt(nouns: Sequence[str] = CHANGE_CLASSES) -> str:
    """ "If changes have occurred, count the number of road and building changes separately."."""
    return f"If changes have occurred, count the number of {listed(nouns)} changes separately."


def question_kind(question: str, nouns: Sequence[str] = CHANGE_CLASSES) -> str:
    """Question type by ChangeChat's fixed wordings: one of `KINDS` but "dialogue"; "open" for any other."""
    fixed = {
        CAPTION: "caption",
        DESCRIBE: "caption",
        PRESENCE: "presence",
        count_prompt(nouns): "count",
        dialogue_count_prompt(nouns): "count",
        location_prompt(nouns): "location",
    }
    return {_plain(text): kind for text, kind in fixed.items()}.get(_plain(question), "open")


def instructions(facts: PairFacts, *, kinds: Sequence[str] = KINDS, open_turns: int = 4, seed: int = 0) -> list[Sample]:
    """The instruction set of one pair.

    ============  =================  =============  ==================================================================
    kind          Sample.task        Sample.kind    answer
    ============  =================  =============  ==================================================================
    "caption"     "change_caption"   "changed",     the captions of the pair, else five by rule
                                     "unchanged"
    "presence"    "change_vqa"       "presence"     "Yes", "No"
    "count"       "change_vqa"       "count"        "2 roads have changed, and no buildings have changed."
    "location"    "change_vqa"       "location"     "roads: ['top-left']. buildings: []."
    "open"        "change_vqa"       "open"         one sentence, for ``open_turns`` questions that are drawn
    "dialogue"    "change_vqa"       "dialogue"     three turns, a sample each: presence, count, and a description that
                                                    says counts and places too; earlier turns are the history
    "mask"        "mask"             "change"       [SEG], with the mask of all changes; only when asked for
    ============  =================  =============  ==================================================================

    ``Sample.meta`` has "asks" (a kind, also of a turn) and, as far as it asks for it, "changed", "change_counts" or
    "change_cells": the structured target, equal to what `read_target` reads from the answer. Class maps go to every
    sample.

    Args:
        kinds: which tasks, of `KINDS` and "mask".
        open_turns: how many open questions; all, where there are fewer.
        seed: of the choice of words and questions, together with the pair's id.

    Raises:
        UserError: for an unknown kind, or "mask" of a pair without one.
    """
    require_known("kind of change instruction", *kinds, known=(*KINDS, "mask"))
    rng = random.Random(f"{seed}/{facts.source}/{facts.id}")
    nouns = tuple(facts.counts)
    captions = facts.captions or change_sentences(facts, rng)
    presence, counts, cells = write_presence(facts.changed), write_counts(facts.counts), write_cells(facts.cells)
    dialogue = (
        (PRESENCE, presence),
        (dialogue_count_prompt(nouns), counts),
        (DESCRIBE, description(facts, rng.choice(captions))),
    )
    asked = rng.sample(found, min(open_turns, len(found))) if (found := open_questions(facts)) else []
    samples: list[Sample] = []
    for kind in kinds:
        if kind == "caption":
            state = "changed" if facts.changed else "unchanged"
            samples.append(_sample(facts, kind, CAPTION, captions, task="change_caption", asks=kind, kind=state))
        elif kind == "presence":
            samples.append(_sample(facts, kind, PRESENCE, (presence,), asks=kind))
        elif kind == "count":
            samples.append(_sample(facts, kind, count_prompt(nouns), (counts,), asks=kind))
        elif kind == "location":
            samples.append(_sample(facts, kind, location_prompt(nouns), (cells,), asks=kind))
        elif kind == "open":
            samples += [_sample(facts, f"open{i}", q, (a,), asks=kind) for i, (q, a) in enumerate(asked)]
        elif kind == "dialogue":
            for i, ((question, answer), asks) in enumerate(
                zip(dialogue, ("presence", "count", "caption"), strict=True)
            ):
                turn = _sample(facts, f"dialogue{i}", question, (answer,), asks=asks, kind=kind, history=dialogue[:i])
                samples.append(turn)
        elif facts.mask is None:
            raise UserError(
                f"{facts.source}, pair {facts.id!r}: no mask to ask for. Give the facts one, or leave 'mask' out"
            )
        else:
            samples.append(
                _sample(facts, kind, SEGMENT, (SEGMENTED,), task="mask", asks=kind, kind="change", mask=facts.mask)
            )
    return samples


def _sample(
    facts: PairFacts, name: str, instruction: str, responses: Sequence[str], *, asks: str, **fields: Any
) -> Sample:
    target = read_target(asks, responses[0], tuple(facts.counts))
    assert target is not None, f"{responses[0]!r} does not say what it should"
    return Sample(
        id=f"{facts.id}:{name}",
        images=facts.images,
        instruction=instruction,
        responses=tuple(responses),
        source=facts.source,
        class_map=facts.class_map,
        classes=facts.classes,
        directional=is_directional(instruction, *responses, *chain.from_iterable(fields.get("history", ()))),
        meta={**facts.meta, "asks": asks, **target},
        **{"task": "change_vqa", "kind": asks, **fields},
    )


def _all(nouns: Sequence[str]) -> str:
    return listed([plural(noun) for noun in nouns])


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())

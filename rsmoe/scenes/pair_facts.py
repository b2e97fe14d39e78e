"""What differs between the two dates of a generated pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.data.change.facts import CHANGE_CLASSES, PairFacts, facts_of_masks
from rsmoe.errors import UserError
from rsmoe.scenes.language.change_language import CHANGE_KINDS, CLASSES
from rsmoe.scenes.scene import ScenePair


def facts_of_scenes(
    pair: ScenePair,
    *,
    id: str,
    source: str,
    captions: Sequence[str] = (),
    nouns: Sequence[str] = CHANGE_CLASSES,
) -> PairFacts:
    """Facts of a generated pair; counts are of the things themselves, which masks that touch do not show.

    Raises:
        UserError: for a noun that is no class of the generated world.
    """
    unknown = [noun for noun in nouns if noun not in CLASSES.values()]
    if unknown:
        raise UserError(f"generated pairs have no class {', '.join(unknown)}; known: {', '.join(CLASSES.values())}")
    values = {name: value for value, name in CLASSES.items()}
    return facts_of_masks(
        {noun: pair.change_mask == values[noun] for noun in nouns},
        id=id,
        images=(pair.before.image, pair.after.image),
        source=source,
        anything=pair.change_mask > 0,
        counts={noun: sum(change.mask_value == values[noun] for change in pair.changes) for noun in nouns},
        captions=tuple(captions),
        mask=pair.change_mask > 0,
        class_map=pair.change_mask + len(CLASSES) * pair.vanished.astype(np.uint8),
        classes=CHANGE_KINDS,
        meta=pair.before.meta,
    )

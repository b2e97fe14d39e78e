"""Questions whose wording says nothing about their answer.

Kinds are those of RSVQA (presence, count, comparison, area, rural_urban; Lobry et al. 2020) and of RSIEval
(arXiv 2307.15266). Every question is asked the way VQA v2 was balanced (Goyal et al. 2017): of several scenes with
*different* answers. A group takes one scene for each of its answers, so a model that reads only the question is
right on one row of the group, whatever it says.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rsmoe.data.change.phrases import plural, with_article
from rsmoe.scenes.language.answers import ANSWERS
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.vocabulary import COVER_NAMES

RSVQA_KINDS = ("presence", "count", "comparison", "area", "rural_urban")
"""Question types of the RSVQA data sets."""

RSIEVAL_KINDS = (
    "presence", "quantity", "color", "ab_position", "re_position", "area_comp", "road_ori", "image", "scene",
    "reasoning",
)  # fmt: skip
"""Question types of RSIEval, under the names of its release."""

KINDS = tuple(dict.fromkeys(RSVQA_KINDS + RSIEVAL_KINDS))
"""Every type once."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question on one scene of a block."""

    scene: int
    """Position of the scene in the block."""
    text: str
    answer: str
    """Lower case, one to three words."""
    kind: str
    """One of `KINDS`."""


def ask(
    block: Sequence[SceneFacts], *, count: int, rng: random.Random, kinds: Sequence[str] = KINDS
) -> tuple[Question, ...]:
    """``count`` questions on a block of scenes, in groups that share their wording and differ in their answers.

    Kinds take turns of about four questions, one group of four answers or two of two; a kind that the block cannot
    balance (one road in all of it) is passed over. Fewer than ``count`` come back only if the block holds nothing more
    to ask about.
    """
    categories = tuple(sorted({name for facts in block for name in facts.counts}))
    tables = {kind: _table(block, kind, categories) for kind in kinds}
    load = [0] * len(block)
    asked: list[Question] = []
    order: list[str] = []
    idle = 0
    while len(asked) < count and idle < 2 * len(kinds):
        if not order:
            order = rng.sample(list(kinds), len(kinds))
        kind = order.pop()
        turn: list[Question] = []
        while len(turn) < 3 and (
            group := _group(tables[kind], kind, room=count - len(asked) - len(turn), load=load, rng=rng)
        ):
            turn += group
        idle = 0 if turn else idle + 1
        asked += turn
    rng.shuffle(asked)
    return tuple(asked)


_Table = dict[str, dict[str, list[int]]]
"""Subject of the question -> answer -> scenes of the block with that answer."""


def _table(block: Sequence[SceneFacts], kind: str, categories: tuple[str, ...]) -> _Table:
    table: _Table = defaultdict(lambda: defaultdict(list))
    for position, facts in enumerate(block):
        for subject, answer in ANSWERS[kind](facts, categories).items():
            table[subject][answer].append(position)
    return table


def _group(table: _Table, kind: str, *, room: int, load: list[int], rng: random.Random) -> list[Question]:
    """Questions on one subject, one for each of 2 to 4 answers (or as many as there is ``room`` for).

    The scenes that are asked leave the table and are counted in ``load``.
    """
    least = min(_LEAST_ANSWERS.get(kind, 2), room)
    subjects = [s for s, answers in table.items() if len(answers) >= max(2, least)]
    if not subjects:
        return []
    subject = rng.choice(subjects)
    answers = sorted(table[subject])
    text = _word(kind, subject, rng)
    asked = []
    for answer in rng.sample(answers, min(len(answers), 4, room)):
        scenes = table[subject][answer]
        lightest = min(load[s] for s in scenes)
        scene = rng.choice([s for s in scenes if load[s] == lightest])
        scenes.remove(scene)
        if not scenes:
            del table[subject][answer]
        load[scene] += 1
        asked.append(Question(scene=scene, text=text, answer=answer, kind=kind))
    return asked


def _word(kind: str, subject: str, rng: random.Random) -> str:
    a, _, b = subject.partition("|")
    first, second = (a, b) if kind != "area_comp" or rng.random() < 0.5 else (b, a)
    template = rng.choice(_WORDINGS.get(f"{kind}:{subject}") or _WORDINGS[kind])
    names = {"a": first, "b": second}
    if kind in ("presence", "count", "quantity", "comparison"):
        names |= {"thing": _thing(first), "things": plural(first), "others": plural(second)}
    return template.format(**names)


def _thing(name: str) -> str:
    return {"forest": "a forest", "road": "a road"}.get(name, name if name in COVER_NAMES else with_article(name))


_LEAST_ANSWERS = {"count": 3, "quantity": 3, "color": 3, "ab_position": 3, "area": 3, "scene": 4}
"""Fewest different answers that a group of an open kind must have."""


_WORDINGS: dict[str, tuple[str, ...]] = {
    "presence": ("Is there {thing} in the image?", "Is {thing} present?", "Does the image show {thing}?"),
    "count": ("How many {things} are there?", "What is the number of {things} in the image?"),
    "quantity": ("How many {things} can be seen in this image?", "How many {things} are visible?"),
    "comparison": ("Are there more {things} than {others}?", "Are there fewer {others} than {things}?"),
    "area": ("How much of the image is covered by {a}?", "What part of the image is {a}?"),
    "rural_urban": ("Is it a rural or an urban area?",),
    "color": ("What is the color of the {a}?", "In what color do we see the {a}?"),
    "ab_position": ("Where is the {a} in the image?", "In which part of the image is the {a}?"),
    "re_position": ("Where is the {a} relative to the {b}?", "Seen from the {b}, where is the {a}?"),
    "area_comp": ("Which covers a larger area, {a} or {b}?", "Is there more {a} or more {b}?"),
    "road_ori": ("What is the orientation of the road?", "In which direction does the road run?"),
    "image:season": ("In which season was the image taken?", "What season does the image show?"),
    "image:resolution": ("Is this a high resolution image?", "Is the resolution of the image high?"),
    "scene": ("What is the theme of this image?", "What kind of scene is this?"),
    "reasoning:crops": ("Is food grown here?", "Do farmers work in this area?"),
    "reasoning:homes": ("Do people live here?", "Is this a place where families live?"),
    "reasoning:fly": ("Can people travel by air from here?", "Is this a place for flights?"),
    "reasoning:berth": ("Can goods be moved by water here?", "Is this place used by sailors?"),
    "reasoning:sport": ("Can people do sports here?", "Is there a place to play ball games?"),
    "reasoning:sunlight": ("Is electricity made from sunlight here?", "Does this place produce solar power?"),
    "reasoning:fuel": ("Is oil or gas kept here?", "Can liquids be stored here?"),
}
"""Kind, or kind and subject -> templates."""

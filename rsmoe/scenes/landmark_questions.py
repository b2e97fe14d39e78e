"""Questions on generated landmarks: those that need knowledge, and those that the picture answers."""

from __future__ import annotations

import random
from typing import Literal

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.notes import UNKNOWN, citation, notes_turn
from rsmoe.data.sample import Sample
from rsmoe.scenes.landmarks import ASKS, Landmark, landmark
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.questions import RSVQA_KINDS, ask
from rsmoe.scenes.release import BLOCK
from rsmoe.scenes.rows import GeneratedRows

_SEEN_KINDS = (*RSVQA_KINDS, "scene")
_MOST_NOTES = 2


class LandmarkQuestions(GeneratedRows):
    """Two questions on every landmark; all are answered in a few words.

    In training a question comes with notes, as a store would give them, or without:

    - one that needs knowledge: of ten, six with the note that answers it among others of the same place and sometimes
      behind those a note of another place, two with notes that do not tell, two with none. The answer cites the note
      that it is from, and is `UNKNOWN` where none tells;
    - one that the picture answers: of ten, seven with notes, of this place or of another, and three with none.

    In the other splits nothing stands before the questions: `rsmoe.evaluate` puts it there with ``knowledge=``. Their
    answer to what needs knowledge is the fact.

    Args:
        asks: "knowledge", kinds of `rsmoe.scenes.landmarks.ASKS`; "picture", kinds of RSVQA and the scene class.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        size: Positive,
        asks: Literal["knowledge", "picture"],
        seed: NonNegative = 0,
        size_px: Positive = 96,
        name: str = "landmarks",
    ) -> None:
        places = (size + 1) // 2
        super().__init__(root=root, split=split, name=name, scenes=places, size=size, seed=seed, size_px=size_px)
        self.asks = asks

    def _fill(self, index: int) -> None:
        """Questions on a block of places."""
        first = index // 2 // BLOCK * BLOCK
        scenes = self._scenes[first : first + BLOCK]
        facts = [SceneFacts(self._generator.scene(scene)) for scene in scenes]
        if self.asks == "knowledge":
            for place, scene in enumerate(scenes):
                rng = random.Random(f"{self._seed}/{scene}/asked")
                for turn, kind in enumerate(rng.sample(sorted(ASKS), 2)):
                    self._add(2 * (first + place) + turn, facts[place], scene, rng, rng.choice(ASKS[kind]), kind)
            return
        rng = random.Random(f"{self._seed}/{scenes[0]}/asked")
        asked = ask(facts, count=2 * len(scenes), rng=rng, kinds=_SEEN_KINDS)
        for turn, one in enumerate(asked):
            self._add(2 * first + turn, facts[one.scene], scenes[one.scene], rng, one.text, one.kind, one.answer)
        for turn in range(len(asked), 2 * len(scenes)):  # a block that could not balance more questions
            self._rows[2 * first + turn] = self._rows[2 * first + turn % len(asked)]

    def _add(
        self, row: int, of: SceneFacts, scene: int, rng: random.Random, question: str, kind: str, answer: str = ""
    ) -> None:
        known = landmark(scene, seed=self._seed)
        notes: list[str] = []
        if self.split == "train":
            notes, told = self._notes(known, rng, kind)
            answer = answer or (UNKNOWN if told is None else known.answer(kind) + citation(told))
        self._rows[row] = Sample(
            id=f"{self.split}-{self.asks}-{row:06d}", images=(of.scene.image,), instruction=question,
            responses=(answer or known.answer(kind),), task="vqa", source=self.name, kind=kind,
            history=(notes_turn(notes),) if notes else (), meta=of.scene.meta,
            georeference=known.georeference(size_px=of.width, gsd_m=of.scene.gsd_m),
        )  # fmt: skip

    def _notes(self, known: Landmark, rng: random.Random, kind: str) -> tuple[list[str], int | None]:
        """Notes before a question, the best first, and the number of the first that answers it."""
        own, draw = known.texts(), rng.random()
        other = landmark(rng.choice(self._scenes), seed=self._seed).texts()
        number = 1 if rng.random() < 0.75 else _MOST_NOTES
        if kind not in ASKS:  # the picture answers
            source = own if rng.random() < 0.5 else other
            return (rng.sample(list(source.values()), number) if draw < 0.7 else []), None
        if draw < 0.2:
            return [], None
        if draw < 0.4:  # of this place or of another, and none tells
            source = own if kind != "name" and rng.random() < 0.5 else other
            silent = [text for key, text in source.items() if key != kind]
            return ([] if kind == "name" else rng.sample(silent, min(number, len(silent)))), None
        keys = rng.sample(list(own), number)
        if kind != "name" and kind not in keys:
            keys[rng.randrange(number)] = kind
        notes = [own[key] for key in keys]
        if number < _MOST_NOTES and rng.random() < 0.1:
            notes.append(rng.choice(list(other.values())))
        return notes, 1 if kind == "name" else keys.index(kind) + 1

"""Generated landmarks: other flights over a place, facts that no picture tells, and questions that need them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsmoe.data.notes import UNKNOWN
from rsmoe.data.overlap.fingerprint import fingerprint
from rsmoe.data.overlap.near_duplicates import NearDuplicates
from rsmoe.knowledge.read_notes import read_notes
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.landmark_questions import LandmarkQuestions
from rsmoe.scenes.landmarks import ASKS, landmark, landmarks, write_landmarks
from rsmoe.scenes.scene import LAND_COVER


def test_another_flight_shows_the_same_place_in_other_pixels() -> None:
    generator = SceneGenerator(size_px=96)
    first = [generator.scene(n) for n in range(34)]
    later = [generator.scene(n, visit=1) for n in range(34)]
    assert [s.scene_class for s in first] == [s.scene_class for s in later]
    shares = np.array(
        [[[(s.semantic == k).mean() for k in range(len(LAND_COVER))] for s in of] for of in (first, later)]
    )
    own = np.abs(shares[0] - shares[1]).sum(1)
    others = np.abs(shares[0][:, None] - shares[1][None]).sum(2)
    assert (own <= others.min(1) + 0.05).mean() > 0.8  # what covers the ground is that of the place
    thumbnails = [[fingerprint(s.image).thumbnail for s in of] for of in (first, later)]
    assert not NearDuplicates(thumbnails[0]).find(thumbnails[1])
    np.testing.assert_array_equal(generator.scene(5, visit=1).image, later[5].image)


def test_facts_do_not_follow_from_what_is_shown() -> None:
    known = list(landmarks("train", 3000, seed=0))
    for kind in ASKS:
        answers = [own.answer(kind) for own in known]
        most = max(answers.count(answer) for answer in set(answers))
        assert most / len(answers) < 0.16
    assert landmark(7, seed=0) == landmark(7, seed=0) != landmark(7, seed=1)


def test_a_training_question_is_answered_by_the_note_that_it_cites_or_by_none() -> None:
    rows = LandmarkQuestions(split="train", size=272, asks="knowledge")
    told = silent = empty = 0
    for sample in (rows[i] for i in range(len(rows))):
        (answer,), notes = sample.responses, sample.history[0][1] if sample.history else ""
        if answer == UNKNOWN:
            assert f", {sample.kind} " not in notes
            silent, empty = silent + bool(notes), empty + (not notes)
        else:
            text, number = answer.rsplit(" [", 1)
            note = notes.split(f"[{number[:-1]}] ")[1].split(" [")[0]
            assert note.startswith(text) if sample.kind == "name" else note.endswith(f", {sample.kind} {text}")
            told += 1
    assert told > 140 and silent > 15 and empty > 40


def test_other_splits_have_no_notes_and_the_store_has_their_places(tmp_path: Path) -> None:
    asked = LandmarkQuestions(split="test", size=68, asks="knowledge")
    seen = LandmarkQuestions(split="test", size=68, asks="picture")
    notes = read_notes(write_landmarks(tmp_path, split="test", size=34, seed=0, size_px=96))
    assert len(notes) == 4 * 34 and len(asked) == len(seen) == 68
    for sample in (asked[i] for i in range(68)):
        assert not sample.history and sample.kind in ASKS
        place = sample.georeference
        assert place is not None
        inside = [n for n in notes if n.point and (np.abs(place.to_lonlat([[48, 48]])[0] - n.point) < 1e-4).all()]
        assert len(inside) == 4 and any(sample.responses[0] in note.text for note in inside)
    assert all(not seen[i].history and seen[i].kind not in ASKS for i in range(68))
    train = LandmarkQuestions(split="train", size=68, asks="picture")
    assert not {s.id for s in (train[i] for i in range(68))} & {seen[i].id for i in range(68)}

"""Requests on one view as turns of a dialogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsmoe.data import Sample
from rsmoe.data.collate import Collate
from rsmoe.data.dialogue import TURNS, in_dialogue
from rsmoe.data.text_codec import TextCodec

CODEC = TextCodec.fit(["q : a where how many ship three here [ ]"], special=("[SEG]", "[RET]"))


def request(words: str, *, task: str = "vqa", history: tuple[tuple[str, str], ...] = ()) -> Sample:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    return Sample(
        id=words, images=(picture,), instruction=words, responses=("three",), task=task, source="toy", history=history
    )


def test_requests_of_one_view_follow_one_another() -> None:
    asked = [request(words) for words in ("first", "second", "third", "fourth")]
    told = in_dialogue(asked, ["1", "2", "3", "4"], seeds=[7] * 4, share=1.0)
    assert [s.history for s in told[:3]] == [(), (("first", "1"),), (("first", "1"), ("second", "2"))]
    assert len(told[3].history) == TURNS and told[3].history[-1] == ("third", "3")


def test_other_views_masks_own_histories_and_copies_stay_out() -> None:
    own = request("own", history=(("before", "0"),))
    asked = [request("elsewhere"), request("mask", task="mask"), request("first"), own, request("same")]
    told = in_dialogue(asked, ["1", "here [SEG]", "2", "3", "2"], seeds=[8, 7, 7, 7, 7], share=1.0)
    assert told[0].history == told[1].history == told[2].history == ()
    assert told[3] is own
    assert told[4].history == (("own", "3"),)  # the first one has the same answer


def test_the_share_is_one_of_views_and_follows_from_their_seeds() -> None:
    pairs = [(request("first"), "1"), (request("second"), "2")]
    counts = []
    for share in (0.0, 0.3, 1.0):
        told = [in_dialogue(*zip(*pairs, strict=True), seeds=[n, n], share=share) for n in range(400)]
        again = [in_dialogue(*zip(*pairs, strict=True), seeds=[n, n], share=share) for n in range(400)]
        assert told == again
        counts.append(sum(bool(second.history) for _, second in told))
    assert counts[0] == 0 and counts[2] == 400
    assert counts[1] == pytest.approx(120, abs=40)


@pytest.mark.parametrize("augment", [True, False])
def test_training_reads_the_dialogue_and_evaluation_does_not(augment: bool) -> None:
    collate = Collate(
        codec=CODEC, instruction_codec=CODEC, image_size=8, mean=[0.5] * 3, std=[0.5] * 3, augment=augment, history=1.0
    )
    first, second = request("where"), request("how many")
    answered = replace(first, responses=("here",))
    batch = collate([(answered, 5), (replace(second, images=first.images), 5)])
    read = [CODEC.decode(row[keep].tolist()) for row, keep in zip(batch.prompt_ids, batch.prompt_mask, strict=True)]
    assert read == (["where", "q : where a : here how many"] if augment else ["where", "how many"])
    asked = [
        CODEC.decode(row[keep].tolist())
        for row, keep in zip(batch.instruction_ids, batch.instruction_mask, strict=True)
    ]
    assert asked == ["where", "how many"]  # router and Q-Former read the request alone

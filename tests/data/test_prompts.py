"""Classes in several words and sentences: what a zero-shot benchmark asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch.utils.data import Dataset

from rsmoe.config import compose
from rsmoe.data.readers.prompt_ensembles import ENSEMBLES
from rsmoe.data.readers.recast import Recast
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


class One(Dataset[Sample]):
    """A picture of a river."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        picture = np.zeros((4, 4, 3), np.uint8)
        return Sample(id="a", images=(picture,), instruction="?", responses=("river",), task="vqa", source="hand")


def responses(**options: object) -> tuple[str, ...]:
    return Recast(One(), task="retrieval", **options)[0].responses  # type: ignore[arg-type]


def test_the_ensemble_of_rs5m() -> None:
    texts = ENSEMBLES["rs5m"]
    assert len(texts) == len(set(texts)) == 105 and all(text.count("{response}") == 1 for text in texts)
    for kind in ("a remote sensing image", "an aerial image", "a satellite image"):
        assert f"{kind} of a hard to see {{response}}." in texts and f"{kind} of the weird {{response}}." in texts
    assert "a jpeg corrupted aerial image of the {response}." in texts and "a low resolution aerial image" in str(texts)


def test_synonyms_come_first_and_each_gets_every_sentence() -> None:
    assert responses(response="skyscript") == ("a satellite photo of river.", "a satellite image of river")
    assert responses(synonyms={"river": ["river", "stream"], "sea": ["ocean"]}) == ("river", "stream")
    both = responses(synonyms={"river": ["river", "stream"]}, response=["a {response}", "the {response}"])
    assert both == ("a river", "the river", "a stream", "the stream")
    assert responses() == ("river",)
    with pytest.raises(UserError, match="put {response} into it, or name one of rs5m, skyscript"):
        responses(response="rs5")


def test_a_request_may_name_the_kind() -> None:
    asked = [replace(One()[0], kind=kind) for kind in ("storage_tank", "ship", "")]
    told = Recast(asked, prompt=["Mark every {kind}.", "{instruction} {kind}"])  # type: ignore[arg-type]
    assert [told[i].instruction for i in range(2)] == ["Mark every storage tank.", "? ship"]
    with pytest.raises(UserError, match="a is of no kind, and prompt='Mark every {kind}.' names it"):
        told[2]


def test_masks_are_questions_of_yes_or_no() -> None:
    there, absent = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    there[1, 2] = True
    boxes = np.array([[2, 1, 3, 2]], np.float32)
    masks = [replace(One()[0], task="mask", kind="storage_tank", mask=m, boxes_px=boxes) for m in (there, absent)]
    asked = Recast(masks, task="vqa", prompt="Is there any {kind}?")  # type: ignore[arg-type]
    for sample, answer in zip(asked, ("yes", "no"), strict=True):
        assert (sample.task, sample.kind, sample.responses) == ("vqa", "presence", (answer,))
        assert sample.instruction == "Is there any storage tank?" and sample.mask is sample.boxes_px is None


def test_synonyms_are_of_the_classes_of_their_benchmark() -> None:
    node = compose(["checkpoint=none", "benchmark=uc_merced_synonyms"], name="evaluate").benchmark.uc_merced_synonyms
    assert set(node.synonyms) == set(node.reader.classes)
    words = [word for own in node.synonyms.values() for word in own]
    assert len(words) == len(set(words))

from pathlib import Path

import numpy as np
import pytest
import torch

from rsmoe.data.sample import Sample
from rsmoe.metrics.bootstrap import intervals
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.retrieval.chance import chance_recalls
from rsmoe.metrics.retrieval.ranking import ranking_row, ranking_tally
from rsmoe.metrics.retrieval.recall import recall_tally
from rsmoe.metrics.retrieval.zero_shot import class_embeddings, zero_shot_rows, zero_shot_tally
from rsmoe.metrics.scoring import score


def recalls(images: torch.Tensor, texts: torch.Tensor, owners: list[int]) -> dict[str, float]:
    return recall_tally(images, texts, owners).values()


def by_hand(images: torch.Tensor, texts: torch.Tensor, owners: list[int]) -> dict[str, float]:
    sim = torch.nn.functional.normalize(images, dim=1) @ torch.nn.functional.normalize(texts, dim=1).T
    owner, result = torch.tensor(owners), {}
    for k in (1, 5, 10):
        top = sim.topk(min(k, sim.shape[1]), dim=1).indices
        result[f"i2t_r{k}"] = float((owner[top] == torch.arange(len(images))[:, None]).any(1).float().mean())
        top = sim.T.topk(min(k, sim.shape[0]), dim=1).indices
        result[f"t2i_r{k}"] = float((top == owner[:, None]).any(1).float().mean())
    return result


def test_equals_a_plain_ranking() -> None:
    generator = torch.Generator().manual_seed(0)
    owners = [i for i in range(40) for _ in range(1 + i % 3)]
    images = torch.randn(40, 16, generator=generator)
    texts = images[owners] + 2.0 * torch.randn(len(owners), 16, generator=generator)
    scores, expected = recalls(images, texts, owners), by_hand(images, texts, owners)
    assert 0.05 < expected["i2t_r1"] < 0.95
    for key, value in expected.items():
        assert scores[key] == pytest.approx(value, abs=1e-6)
    assert scores["mr"] == pytest.approx(sum(expected.values()) / 6, abs=1e-6)


def test_perfect_is_one() -> None:
    images = torch.eye(12)
    scores = recalls(images, images.repeat_interleave(2, 0), [i for i in range(12) for _ in range(2)])
    assert scores["mr"] == 1.0


def test_constant_embeddings_score_chance() -> None:
    owners = [i for i in range(30) for _ in range(5)]
    scores = recalls(torch.ones(30, 4), torch.ones(150, 4), owners)
    chance = chance_recalls([5] * 30)
    for key, value in chance.items():
        assert scores[key] == pytest.approx(value, abs=1e-9)
    assert chance["t2i_r1"] == pytest.approx(1 / 30)
    assert chance["i2t_r1"] == pytest.approx(1 / 30)
    assert 0 < chance["i2t_r5"] < 5 * 5 / 150 + 1e-9


def test_constant_embeddings_score_chance_under_unique_captions() -> None:
    """Thirty images of two classes, told by their names: a name by chance is right every second time."""
    captions = [("forest", "river", "river")[i % 3] for i in range(30)]
    found = unique(torch.ones(30, 4), torch.ones(30, 4), list(range(30)), captions)
    chance = chance_recalls([1] * 30, [10, 20])
    assert {key: value for key, value in found.items() if key in chance} == pytest.approx(chance)
    assert chance["i2t_r1"] == 0.5 and chance["t2i_r1"] == pytest.approx((10 / 30 + 20 / 30) / 2)


def test_chance_is_what_random_embeddings_reach() -> None:
    generator = torch.Generator().manual_seed(1)
    owners = [i for i in range(20) for _ in range(3)]
    runs = [
        recalls(torch.randn(20, 8, generator=generator), torch.randn(60, 8, generator=generator), owners)
        for _ in range(60)
    ]
    for key, value in chance_recalls([3] * 20).items():
        assert sum(r[key] for r in runs) / len(runs) == pytest.approx(value, abs=0.04)


def test_missing_embeddings_are_wrong_and_counted() -> None:
    images, texts = torch.eye(4), torch.eye(4)
    images[0] = 0.0
    texts[1] = torch.nan
    scores = recalls(images, texts, [0, 1, 2, 3])
    assert (scores["i2t_r1"], scores["t2i_r1"]) == (0.5, 0.5)
    assert scores["i2t_r10"] == scores["t2i_r10"] == 0.5
    assert (scores["n"], scores["parse_failures"]) == (4, 2)


def test_order_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    images, texts = torch.randn(15, 6, generator=generator), torch.randn(30, 6, generator=generator)
    order = torch.randperm(15, generator=generator)
    shuffled = texts.view(15, 2, 6)[order].flatten(0, 1)
    owners = [j // 2 for j in range(30)]
    assert recalls(images, texts, owners) == pytest.approx(recalls(images[order], shuffled, owners), abs=1e-9)


def test_an_image_without_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        recalls(torch.ones(2, 3), torch.ones(1, 3), [0])
    with pytest.raises(ValueError, match="one image or more"):
        recalls(torch.ones(0, 3), torch.ones(0, 3), [])


# ---- unique captions


def unique(images: torch.Tensor, texts: torch.Tensor, owners: list[int], captions: list[str]) -> dict[str, float]:
    return recall_tally(images, texts, owners, captions=captions).values()


def test_equal_captions_are_one_candidate_for_several_images() -> None:
    images = torch.eye(12)[:11]
    texts = torch.cat([images[:10], images[:1]])  # the caption of image 0 is also that of image 10
    owners, captions = list(range(11)), [f"c{i}" for i in range(10)] + ["c0"]
    found, every = unique(images, texts, owners, captions), recalls(images, texts, owners)
    assert (found["n"], found["n_texts"], every["n_texts"]) == (11, 10, 11)
    assert found["i2t_r1"] == pytest.approx((10 + 1 / 10) / 11)  # image 10 is as far from one as from another
    assert found["t2i_r1"] == 1.0 and every["t2i_r1"] == pytest.approx(10 / 11)


def test_unique_captions_of_distinct_captions_equal_all_captions() -> None:
    generator = torch.Generator().manual_seed(4)
    owners = [i for i in range(20) for _ in range(3)]
    images = torch.randn(20, 8, generator=generator)
    texts = images[owners] + torch.randn(60, 8, generator=generator)
    assert unique(images, texts, owners, [f"c{i}" for i in range(60)]) == pytest.approx(recalls(images, texts, owners))


def test_rows_of_images_add_up_to_the_numbers() -> None:
    generator = torch.Generator().manual_seed(5)
    owners = [i for i in range(30) for _ in range(2)]
    images = torch.randn(30, 6, generator=generator)
    texts = images[owners] + 0.8 * torch.randn(60, 6, generator=generator)
    tally = recall_tally(images, texts, owners)
    assert tally.rows.shape[0] == 30
    bounds = intervals(tally, draws=300)["mr"]
    assert bounds.low < bounds.value < bounds.high < bounds.low + 0.5


# ---- rankings, and classes


def test_rankings_of_somebody_else() -> None:
    items = [f"i{k}" for k in range(12)]
    rows = [
        ranking_row(items, ["i0"]),
        ranking_row(items, ["i6", "i3", "zz"]),
        ranking_row(items, ["i11"]),
        ranking_row([], ["i0"]),
    ]
    found = ranking_tally(rows).values()
    assert [found[k] for k in ("r1", "r5", "r10")] == [0.25, 0.5, 0.5]
    assert found["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 12) / 4)
    assert (found["n"], found["parse_failures"]) == (4, 1)
    with pytest.raises(ValueError, match="twice"):
        ranking_row(["a", "a"], ["a"])


def zero_shot(scores: torch.Tensor, labels: list[str], *classes: str) -> dict[str, float]:
    return zero_shot_tally(zero_shot_rows(scores, labels, classes=classes)).values()


def test_zero_shot_by_hand_and_by_chance() -> None:
    names = ("lake", "wood", "road", "field")
    found = zero_shot(torch.eye(4)[[0, 1, 1, 3]], ["lake", "wood", "road", "wood"], *names)
    assert (found["top1"], found["class_top1"]) == (0.5, pytest.approx((1 + 0.5 + 0) / 3))
    assert zero_shot(torch.ones(8, 4), ["lake", "wood"] * 4, *names)["top1"] == 0.25
    broken = zero_shot(torch.tensor([[torch.nan, 1.0]]), ["wood"], "lake", "wood")
    assert (broken["top1"], broken["parse_failures"]) == (0.0, 1)
    with pytest.raises(ValueError, match="2 classes"):
        zero_shot(torch.ones(1, 2), ["road"], "lake", "wood")


def test_zero_shot_reads_the_embeddings_of_predictions() -> None:
    """Four images of three classes; the third has no embedding, the fourth looks like another class."""
    labels = ["lake", "wood", "lake", "road"]
    texts = dict(zip(("lake", "wood", "road"), np.eye(3, dtype=np.float32), strict=True))
    samples = [
        Sample(id=str(i), images=(Path(str(i)),), instruction="", responses=(f"a {x}",), task="retrieval", source="s")
        for i, x in enumerate(labels)
    ]
    seen = [texts["lake"], texts["wood"], None, texts["wood"]]
    predictions = [
        Prediction(id=s.id, task=s.task, image_embedding=image, text_embeddings=texts[label][None])
        for s, label, image in zip(samples, labels, seen, strict=True)
    ]
    results = score(samples, predictions, protocol_prefix="", split="t", protocols={"retrieval": "zero-shot/top1@1"})
    found = {r.metric: r for r in results}
    assert found["retrieval/top1"].value == 50.0 and found["retrieval/top1"].parse_failures == 1
    assert found["retrieval/class_top1"].value == pytest.approx(100 * (0.5 + 1 + 0) / 3)


def test_class_embeddings_average_before_they_are_scaled() -> None:
    texts = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    assert torch.allclose(class_embeddings(texts), torch.tensor([[3.0, 1.0]]) / 10**0.5)

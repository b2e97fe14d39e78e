import pytest
import torch

from rsmoe.metrics.retrieval import Retrieval, chance_recalls


def recalls(images: torch.Tensor, texts: torch.Tensor, owners: list[int]) -> dict[str, float]:
    metric = Retrieval()
    metric.update(images, [str(i) for i in range(len(images))], texts, [str(o) for o in owners])
    return metric.compute()


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


def test_order_and_repeated_images_change_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    images, texts = torch.randn(15, 6, generator=generator), torch.randn(30, 6, generator=generator)
    once, twice = Retrieval(), Retrieval()
    ids = [f"img{i}" for i in range(15)]
    once.update(images, ids, texts, [ids[j // 2] for j in range(30)])
    for i in [*torch.randperm(15, generator=generator).tolist(), 0, 3]:  # a padding sampler shows two of them again
        twice.update(images[i : i + 1], [ids[i]], texts[2 * i : 2 * i + 2], [ids[i]] * 2)
    assert once.compute() == pytest.approx(twice.compute(), abs=1e-9)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_an_image_without_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        Retrieval().update(torch.ones(2, 3), ["a", "b"], torch.ones(1, 3), ["a"])
    with pytest.raises(ValueError, match="no image"):
        Retrieval().compute()

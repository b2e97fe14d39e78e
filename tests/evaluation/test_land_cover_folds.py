"""One confusion matrix over pictures that several runs left out."""

from __future__ import annotations

import numpy as np
import pytest

from rsmoe.data import Sample
from rsmoe.studies.land_cover_folds import ious, row, strip_of, table_of


def sample(true: np.ndarray) -> Sample:
    plain = {"instruction": "segment", "responses": ("here",), "task": "mask", "source": "toy"}
    return Sample(id="s", images=(np.zeros((*true.shape, 3), np.uint8),), class_map=true, classes=("a", "b"), **plain)  # type: ignore[arg-type]


def test_unlabelled_pixels_are_scored_only_where_they_are_a_class() -> None:
    true = np.array([[0, 0, 1, 1], [255, 255, 255, 1]], np.uint8)
    said = np.array([[0, 1, 1, 1], [0, 0, 1, 1]], np.uint8)
    counted = table_of(said, sample(true), 2)
    assert counted.tolist() == [[1, 1], [0, 3], [2, 1]]
    np.testing.assert_allclose(ious(counted, unlabelled=False), [50, 75])
    np.testing.assert_allclose(ious(counted, unlabelled=True), [25, 60])
    cells = row("t", np.stack([counted, counted]))
    assert cells == ["t", "2", "62.5 [62.5, 62.5]", "28.3", "50.0", "75.0"]
    assert strip_of(said, sample(true), ["#ff0000", "#00ff00"]).shape == (720, 240, 3)


def test_a_class_that_is_nowhere_is_left_out_of_the_mean() -> None:
    counted = table_of(np.zeros((2, 2), np.uint8), sample(np.zeros((2, 2), np.uint8)), 2)
    found = ious(counted, unlabelled=False)
    assert found[0] == 100 and np.isnan(found[1])
    assert row("t", counted[None])[2] == "100.0 [100.0, 100.0]"
    assert float(row("t", counted[None])[3]) == pytest.approx(33.3)

import math

import numpy as np
import pytest

from rsmoe.metrics.retrieval.selo import SeLo, _box, _maximum, attention_centres

SQUARE = np.array([(40, 40), (160, 40), (160, 160), (40, 160)], dtype=float)


def spot(x: int, y: int, size: int = 300, width: float = 25.0) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))


def numbers(probability: np.ndarray, *regions: np.ndarray) -> dict[str, float]:
    metric = SeLo()
    metric.update([probability], [regions or (SQUARE,)])
    return metric.compute()


def test_filters_against_loops() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8)
    mirrored = np.pad(grey, 60, mode="reflect").astype(float)
    for y, x in ((0, 0), (5, 80), (69, 89), (33, 40)):
        mean = mirrored[y + 60 - 25 : y + 60 + 25, x + 60 - 25 : x + 60 + 25].mean()
        assert _box(grey)[y, x] == pytest.approx(mean, abs=0.51)
    line = np.random.default_rng(1).integers(0, 255, (2, 1600), dtype=np.uint8)
    expected = [[row[max(0, x - 500) : x + 500].max() for x in range(1600)] for row in line]
    assert np.array_equal(_maximum(line), expected)


def test_an_attention_centre_is_where_the_map_is_highest() -> None:
    assert np.abs(attention_centres(spot(180, 120)) - [180, 120]).max() <= 2
    assert len(attention_centres(0.4 * spot(180, 120))) == 0, "below one half"
    assert len(attention_centres(np.zeros((60, 60)))) == 0


def test_formulas_by_hand() -> None:
    radius = int(1.5 * 60 * math.sqrt(2))
    uniform = np.full((300, 300), 0.6)
    found = numbers(uniform)  # one flat maximum, centred at 149, 149
    x = math.hypot(49, 49) / radius
    assert found["ras"] == pytest.approx(math.expm1(3 * x) / math.expm1(3))
    assert found["rsu"] == pytest.approx(1 - math.exp(-0.707), abs=1e-6), "as much inside as outside, by area"
    assert found["rda"] == 1.0
    assert found["rmi"] == pytest.approx(0.4 * found["rsu"] + 0.35 * (1 - found["ras"]) + 0.25)


def test_right_and_wrong_places() -> None:
    right, wrong = numbers(spot(100, 100)), numbers(spot(270, 270))
    assert right["rsu"] > 0.99 and right["ras"] < 0.05 and right["rda"] == 1.0 and right["rmi"] > 0.97
    assert wrong["rsu"] < 0.01 and wrong["ras"] == 1.0 and wrong["rda"] == 0.0 and wrong["rmi"] < 0.01
    assert numbers(0.4 * spot(100, 100))["ras"] == 1.0, "no attention centre at all"


def test_two_regions_one_of_them_found() -> None:
    found = numbers(spot(100, 100), SQUARE, SQUARE / 4 + 230)
    assert found["rda"] == 0.5 and found["ras"] > math.expm1(1.5) / math.expm1(3) - 1e-9


def test_bad_input() -> None:
    for probability, regions in ((spot(9, 9), []), (2 * spot(9, 9), [SQUARE]), (spot(9, 9), [SQUARE + 900])):
        with pytest.raises(ValueError, match="region"):
            SeLo().update([probability], [regions])

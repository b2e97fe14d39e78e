"""Figures: whole files, of a paper's width, for the inputs that a run can produce; nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rsmoe.errors import UserError
from rsmoe.figures.figure import PAGE_WIDTH_IN, save_figure, shorten
from rsmoe.figures.router_history import RouterHistory
from rsmoe.figures.router_plot import plot_router
from rsmoe.figures.sample_card import SampleCard
from rsmoe.figures.samples_plot import plot_samples
from rsmoe.figures.sheet import text_width_in, wrap

PIXELS = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


def _history(steps: int, experts: int) -> RouterHistory:
    return RouterHistory(
        step=range(steps),
        entropy=np.linspace(np.log(experts), 0, steps).tolist(),
        accuracy=[float("nan")] + [0.5] * (steps - 1),
        load=np.full((steps, experts), 1 / experts).tolist(),
        stages=((0, "perception"), (steps // 2, "experts with a long name")),
    )


@pytest.mark.parametrize(("experts", "steps"), [(1, 0), (1, 3), (5, 20), (32, 1)])
def test_router_plot_takes_any_number_of_experts_and_steps(tmp_path: Path, experts: int, steps: int) -> None:
    weights = np.full((3, experts), 1 / experts)
    weights[1] = np.nan  # a task without samples
    path = plot_router(
        tmp_path / "new" / "router.png",
        matrix=weights,
        task_names=["caption", "change_caption", "a very long kind of instruction $x$"],
        expert_names=[f"expert_{i}" for i in range(experts)],
        load=np.full(experts, 1 / experts).tolist(),
        history=_history(steps, experts) if steps else None,
    )
    image = _pixels(path)
    assert image.shape[1] == round(PAGE_WIDTH_IN * 200)
    assert image.std() > 10  # not an empty page
    assert [p.name for p in path.parent.iterdir()] == ["router.png"]


def test_router_plot_shows_the_matrix_the_right_way_round(tmp_path: Path) -> None:
    matrix = np.array([[1.0, 0.0], [1.0, 0.0]])  # two tasks, both served by the first expert
    names = {"task_names": ["a", "b"], "expert_names": ["first", "second"]}
    image = _pixels(plot_router(tmp_path / "r.png", matrix=matrix, load=[1.0, 0.0], history=None, **names))
    table = image[:, : image.shape[1] // 3].astype(int)
    blue = (table[..., 2] - table[..., 0]) > 40
    rows = np.nonzero(blue.any(1))[0]
    assert rows.size
    assert rows.max() < image.shape[0] * 0.55  # dark blue only in the upper row


@pytest.mark.parametrize(("matrix", "load"), [((2, 3), 2), ((3, 2), 3), ((2, 2), 3)])
def test_router_plot_refuses_shapes_that_do_not_match(tmp_path: Path, matrix: tuple[int, int], load: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        plot_router(
            tmp_path / "r.png",
            matrix=np.zeros(matrix),
            task_names=["a", "b"],
            expert_names=["x", "y"],
            load=[0.5] * load,
        )


def test_history_refuses_series_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="one length"):
        RouterHistory(step=[1, 2], entropy=[0.5], accuracy=[1.0, 1.0])


def test_contact_sheet_takes_what_runs_produce(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[:8, 4:20] = True  # at the border
    cards = [
        SampleCard(images=[PIXELS], instruction="Describe.", reference="a road", prediction="a river"),
        SampleCard(
            images=[PIXELS, PIXELS],
            instruction="What changed for $5 and $6?",  # not mathematics
            reference="word " * 300,
            prediction="",
            correct=False,
            mask=np.zeros_like(mask),
            reference_mask=mask,
            router={f"expert_{i}": 1 / 9 for i in range(9)},
        ),
        SampleCard(images=[PIXELS[:, :, 0]] * 6, instruction="x" * 300, reference="r", prediction="p", correct=True),
        SampleCard(images=[PIXELS[:10].repeat(2, axis=2)], instruction="i", reference="r", prediction="p"),
    ]
    image = _pixels(plot_samples(tmp_path / "samples.png", cards))
    assert image.shape[1] == round(PAGE_WIDTH_IN * 200)
    assert image.shape[0] < 6 * 200  # cut texts, not pages of them


def test_contact_sheet_outlines_the_mask_where_it_is(tmp_path: Path) -> None:
    black, mask = np.zeros((40, 40, 3), dtype=np.uint8), np.zeros((40, 40), dtype=bool)
    mask[:10, :10] = True

    def magenta(predicted: np.ndarray) -> np.ndarray:
        card = SampleCard(images=[black], instruction="i", reference="r", prediction="p", mask=predicted)
        image = _pixels(plot_samples(tmp_path / "s.png", [card])).astype(int)[:260, :270]
        return np.argwhere((image[..., 0] > 150) & (image[..., 1] < 120) & (image[..., 2] > 120))

    upper, lower = magenta(mask), magenta(mask[::-1])
    assert len(upper) > 20
    assert len(lower) > 20
    assert upper[:, 0].mean() + 60 < lower[:, 0].mean()


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ([], "at least one"),
        ([SampleCard(images=[], instruction="i", reference="r", prediction="p")], "needs an image"),
        (
            [SampleCard(images=[PIXELS], instruction="i", reference="r", prediction="p", mask=np.ones((3, 3), bool))],
            "does not fit",
        ),
    ],
)
def test_contact_sheet_refuses_what_it_cannot_draw(tmp_path: Path, cards: list[SampleCard], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_samples(tmp_path / "s.png", cards)
    assert not list(tmp_path.iterdir())


def test_failed_save_leaves_the_old_figure_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.png"
    path.write_bytes(b"old")

    def full(self: Figure, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(UserError, match=r"cannot write .*f\.png: No space"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.png"]


def test_wrapped_lines_fit_and_lose_no_word() -> None:
    text = "three large airplanes are parked near the terminal of a supercalifragilisticexpialidocious airport"
    lines = wrap(text, width_in=1.0, indent_in=0.4, lines=99)
    assert all(text_width_in(line) <= 1.0 for line in lines)
    assert text_width_in(lines[0]) <= 0.6
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    cut = wrap(text, width_in=1.0, lines=2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")
    assert text_width_in(cut[-1]) <= 1.0


def test_shorten_keeps_to_the_limit() -> None:
    assert shorten("a  b\nc", 10) == "a b c"
    assert shorten("abcdefgh", 5) == "abcd…"

"""The inspection counts, chooses and draws what a reader gives, at the right place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from rich.console import Console
from rich.table import Table

from rsmoe.commands.inspect import cli, scan, varied
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.figures.inspect_sheet import plot_inspection
from rsmoe.figures.inspect_tables import counts_table, rows_table, tasks_table, unused_table

YELLOW, BLUE, MAGENTA = "#F0E442", "#56B4E9", "#FF4FC3"


def sample(number: int = 0, task: str = "caption", kind: str = "", **more: Any) -> Sample:
    fields: dict[str, Any] = {
        "id": f"id{number}",
        "images": (np.zeros((100, 100, 3), np.uint8),),
        "instruction": "Describe.",
        "responses": ("a field", "fields"),
        "source": "toy",
    }
    return Sample(**fields | {"task": task, "kind": kind} | more)


def shown(table: Table) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def drawn(path: Path, item: Sample, color: str, *, tolerance: float = 0.03) -> np.ndarray:
    """(n, 2) x and y in pixels of the picture, 0-100, where the sheet has this colour."""
    assert plot_inspection(path, [item]) == []
    page = np.asarray(Image.open(path).convert("RGB")) / 255
    black = (page[:900] < 0.02).all(-1)
    side = int(black[16].nonzero()[0].max() - 15)  # the picture is black, and the first thing on the page
    near = (np.abs(page - np.array(to_rgb(color))) < tolerance).all(-1)[16 : 16 + side, 16 : 16 + side]
    return np.argwhere(near)[:, ::-1] * 100 / side


def test_horizontal_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    boxes = np.array([[20, 30, 60, 80]], np.float32)
    points = drawn(tmp_path / "a.png", sample(task="ground", boxes_px=boxes), YELLOW)
    assert np.abs([*points.min(0), *points.max(0)] - boxes[0]).max() < 1.5
    inside = (points > [25, 35]).all(1) & (points < [55, 75]).all(1)
    assert len(points) > 100 and not inside.any()  # an outline


def test_oriented_boxes_turn_clockwise_to_the_eye(tmp_path: Path) -> None:
    obb = np.array([[50, 50, 60, 10, 30]], np.float32)
    points = drawn(tmp_path / "a.png", sample(task="ground", obb_px=obb), BLUE)
    right, left = points[points[:, 0].argmax()], points[points[:, 0].argmin()]
    assert right[1] > 60 and left[1] < 40  # y points down: the right end is the lower one
    expected = 50 + 30 * np.cos(np.pi / 6) + 5 * np.sin(np.pi / 6)
    assert abs(right[0] - expected) < 2
    both = sample(task="ground", obb_px=obb, boxes_px=np.array([[20, 30, 80, 70]], np.float32))
    assert not len(drawn(tmp_path / "b.png", both, YELLOW)) and len(drawn(tmp_path / "c.png", both, BLUE)) > 100


def test_masks_tint_the_first_picture_only(tmp_path: Path) -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:40, 50:90] = True
    tint = tuple(0.45 * np.array(to_rgb(MAGENTA)))
    points = drawn(tmp_path / "a.png", sample(task="mask", mask=mask), tint)  # type: ignore[arg-type]
    assert np.abs([*points.min(0), *points.max(0)] - np.array([50, 10, 90, 40])).max() < 1.5
    assert len(np.unique(points.astype(int), axis=0)) == pytest.approx(30 * 40, rel=0.1)  # filled


def test_class_maps_are_a_panel_with_names(tmp_path: Path) -> None:
    plane = np.zeros((100, 100), np.uint8)
    plane[:, 50:], plane[90:] = 1, 255
    item = sample(task="mask", class_map=plane, classes=("water", "road"))
    assert plot_inspection(tmp_path / "a.png", [item]) == []
    page = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")) / 255
    counts = [(np.abs(page - np.array(to_rgb(c))) < 0.02).all(-1).sum() for c in ("#1f77b4", "#ff7f0e")]
    assert min(counts) > 5000 and counts[0] == pytest.approx(counts[1], rel=0.1)


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    good, gone = sample(0), sample(1, images=(tmp_path / "gone.png",))
    wrong = sample(2, task="mask", mask=np.ones((5, 5), bool))
    faults = plot_inspection(tmp_path / "a.png", [good, gone, wrong])
    assert [fault.split(":")[0] for fault in faults] == ["id1", "id2"]
    assert "no image file" in faults[0] and "(5, 5)" in faults[1] and (tmp_path / "a.png").exists()
    assert len(plot_inspection(tmp_path / "b.png", [gone])) == 1 and not (tmp_path / "b.png").exists()


def test_any_number_of_dates_and_bands_is_drawn(tmp_path: Path) -> None:
    grey = sample(0, images=(np.zeros((40, 20, 1), np.uint8),) * 9)
    wide = sample(1, task="change_vqa", images=(np.zeros((20, 60, 5), np.uint8),) * 2, responses=("$x_1$ [b] :ok:",))
    assert plot_inspection(tmp_path / "a.png", [grey, wide]) == []


def test_every_kind_is_chosen_before_one_is_repeated() -> None:
    kinds = ["count"] * 5 + ["presence"] * 2 + ["area"]
    samples = [sample(i, "vqa", kind) for i, kind in enumerate(kinds)]
    assert [s.id for s in varied(samples, 3)] == ["id0", "id5", "id7"]
    assert [s.id for s in varied(samples, 5)] == ["id0", "id1", "id5", "id6", "id7"]
    assert len(varied(samples, 99)) == 8 and varied(samples, 0) == []


def test_long_data_sets_are_scanned_from_end_to_end() -> None:
    rows: Any = [sample(i) for i in range(50)]
    assert list(scan(rows, 5)) == spread(50, 5) and list(scan(rows)) == list(range(50))


def test_tables_say_what_was_read() -> None:
    table = counts_table({"images": 3, "captions": 1500}, {"images": 3, "captions": 1600, "pairs": 7}, "toy train")
    lines = {line.split("│")[1].strip(): line for line in shown(table).splitlines() if "│" in line}
    assert "1,500" in lines["captions"] and "1,600" in lines["captions"] and lines["pairs"].count("–") == 1
    assert [cell.style for cell in table.columns[1]._cells] == ["green", "bold red", ""]  # type: ignore[union-attr]
    text = shown(unused_table({"inactive [stub]": [str(i) for i in range(7)]}))
    assert "inactive [stub]" in text and "0, 1, 2, 3, 4 ..." in text and "7" in text
    boxes = np.zeros((2, 4), np.float32)
    group = [sample(0, "vqa", "count", boxes_px=boxes), sample(1, "vqa", "count", images=sample().images * 2)]
    (line,) = (line for line in shown(tasks_table(group, 900)).splitlines() if "count" in line)
    assert [cell.strip() for cell in line.split("│")[1:6]] == ["vqa", "count", "2", "4", "1-2"]
    assert "Tasks, in 2 of 900 rows" in shown(tasks_table(group, 900))
    rows = shown(rows_table([sample(0, instruction="x :airplane: [bold]", history=(("q", "a"),), meta={"gsd_m": 0.5})]))
    assert ":airplane: [bold]" in rows and "[1 earlier turns]" in rows and "gsd_m 0.5" in rows and "(+1 more)" in rows


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["inspect", *arguments])
    monkeypatch.chdir(folder)
    cli()


def test_generated_scenes_are_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path, "data=scenes", "data.size=30", "sheet=4", "rows=2")
    text = capsys.readouterr().out
    assert "generated, not real data" in text and "4 samples drawn: inspect.png" in text
    assert (tmp_path / "inspect.png").read_bytes().startswith(b"\x89PNG")


def test_a_release_is_inspected_beside_its_official_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images/1.jpg")
    row = {"filename": "1.tif", "split": "train", "sentences": [{"raw": "a field"}, {"raw": " "}]}
    (tmp_path / "dataset_ucm.json").write_text(json.dumps({"images": [row]}))
    run(monkeypatch, tmp_path, "data=ucm_captions", f"data.root={tmp_path}", "out=sheets/a.png")
    text = capsys.readouterr().out
    assert "1,680" in text and "8,400" in text and "a field" in text  # what the release states
    assert (tmp_path / "sheets/a.png").exists()
    with pytest.raises(SystemExit, match="rows=-1: expected a whole number from 0"):
        run(monkeypatch, tmp_path, "data=ucm_captions", f"data.root={tmp_path}", "rows=-1")
    with pytest.raises(SystemExit, match="unknown split of ucm_captions 'val'"):
        run(monkeypatch, tmp_path, "data=ucm_captions", f"data.root={tmp_path}", "split=val")

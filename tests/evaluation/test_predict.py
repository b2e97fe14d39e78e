"""One answer on the command line, and one clear line where there can be none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.features import rasterize
from support.models import codecs, requests, tiny_config, tiny_model
from support.replies import reply
from support.runs import Listed, data_of

import rsmoe
import rsmoe.predict
from rsmoe.build import load_run
from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch, read_texts
from rsmoe.evaluation.change_report import changed_by_cell, count_kinds
from rsmoe.evaluation.evaluate_splits import evaluate
from rsmoe.evaluation.map_tiles import map_tiles
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.request import Request
from rsmoe.geo import open_raster
from rsmoe.geo.dates import Dates
from rsmoe.settings.stage import Stage
from rsmoe.training.run import load_checkpoint, run_stages

ROOT = Path(__file__).parents[2]
CALM = ("temporal.dropout=0.0",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned what its requests say, and pictures."""
    home = tmp_path_factory.mktemp("predict")
    codec, words = codecs()
    model = tiny_model(*CALM, scrambled=False)
    stage = Stage(
        name="learn", steps=50, train=["*"], batch_size=10, lr=1e-2, warmup=5, teach_routing_steps=50,
        losses={"text": 1.0, "label": 1.0, "mask_bce": 1.0, "retrieval": 1.0},
    )  # fmt: skip
    run_stages(
        model=model, data=data_of(requests()), stages=[stage], folder=home, seed=3,
        hparams={"config": tiny_config(*CALM), "codec": codec.state(), "instruction_codec": words.state()},
        trainer={"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1},
        logger=None, checkpoint_every=100, resume=None,
    )  # fmt: skip
    for sample in requests():
        for date, image in enumerate(sample.images):
            Image.fromarray(image).save(home / f"{sample.id}-{date}.png")
    (home / "empty.png").write_bytes(b"")
    whole = (home / "caption-0-0.png").read_bytes()
    (home / "cut.png").write_bytes(whole[: len(whole) // 2])
    return home


def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``python -m rsmoe.predict``, in this process."""
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    monkeypatch.setenv("COLUMNS", "200")
    code = 0
    try:
        rsmoe.predict.cli()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    out, err = capsys.readouterr()
    return code, out, err


def test_one_image(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "how many ships are there in the image ?"
    image = folder / "vqa-1-0.png"
    code, out, err = cli(capsys, monkeypatch, f"checkpoint={folder}", f"image={image}", f"instruction={asked}")
    assert code == 0, err
    model = rsmoe.load(folder)
    (given,) = model.answer([Request(id="a", pictures=(image,), instruction=asked)], prompts=True)
    lines = out.splitlines()
    assert lines[0].strip() == given.text == "two"
    assert max(given.routing, key=given.routing.get) == "vqa"  # type: ignore[arg-type]
    assert abs(sum(given.routing.values()) - 1) < 1e-5
    assert given.prompts is not None
    for name, weight in given.routing.items():
        rows = [line for line in lines if f" {name} " in line]
        if name not in given.prompts and weight < 0.0005:
            assert not rows
            continue
        (row,) = rows
        assert f"{weight:.3f}" in row
        assert given.prompts.get(name, "") in row
    assert set(given.prompts) == {n for n, w in given.routing.items() if w > 0}
    assert all(len(text.split("~")) == 5 for text in given.prompts.values())  # four soft tokens, as nearest words


def test_two_images(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [folder / f"change_caption-2-{date}.png" for date in (0, 1)]
    code, out, err = cli(
        capsys, monkeypatch, f"checkpoint={folder}", f"image=[{pair[0]},{pair[1]}]", "instruction=what has changed ?"
    )  # fmt: skip
    assert code == 0, err
    given = rsmoe.load(folder).ask(tuple(pair), "what has changed ?")
    assert out.splitlines()[0].strip() == given.text
    learned = {word for s in requests() if s.task == "change_caption" for text in s.responses for word in text.split()}
    assert given.text and set(given.text.split()) <= learned
    assert max(given.routing, key=given.routing.get) == "change"


def test_a_mask_is_written_where_out_says(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = (f"checkpoint={folder}", f"image={folder / 'mask-3-0.png'}", "instruction=segment the ship")
    code, out, err = cli(capsys, monkeypatch, *words)
    assert code == 0 and "add out=mask.png" in out
    code, out, err = cli(capsys, monkeypatch, *words, f"out={tmp_path / 'mask.png'}")
    assert code == 0, err
    assert "[SEG]" in out
    written = np.asarray(Image.open(tmp_path / "mask.png"))
    assert written.shape == (32, 32) and set(np.unique(written)) <= {0, 255}


@pytest.mark.parametrize(
    "instruction",
    [
        "How many ships, boats or piers are there?",
        "What's this (in red)?",
        'Is the "old" harbour = the grey one?',
        "50% of it: {water} or [land]",
        "a back\\slash\\",
        "null",
    ],
)
def test_an_instruction_is_taken_word_for_word(
    instruction: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Request] = []
    opened: list[str] = []

    def answer(requests: list[Request], **_: Any) -> list[Reply]:
        heard.extend(requests)
        return [reply(Dates(images=(blank,), valid=blank[..., 0] == 0, georeference=None, notes=()))]

    blank = np.zeros((4, 4, 3), np.uint8)
    model = SimpleNamespace(answer=answer, run=SimpleNamespace(change_classes=()), cover_classes=())
    monkeypatch.setattr(rsmoe, "load", lambda path, **_: opened.append(path) or model)
    monkeypatch.chdir(tmp_path)
    name = "IMG 2 (b), 'x' [1].png"
    (tmp_path / name).write_bytes(b"")
    code, _, err = cli(
        capsys, monkeypatch, "checkpoint=my run (1), last", f"image={name}", f"instruction={instruction}"
    )  # fmt: skip
    assert code == 0, err
    expected = None if instruction == "null" else instruction
    assert heard[0].instruction == expected
    assert opened == ["my run (1), last"]
    assert heard[0].pictures == (name,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image={folder}/nothing.png"], "nothing.png"),
        (["image={folder}/empty.png"], "empty.png"),
        (["image={folder}/cut.png"], "cut.png"),
        (["image=[{folder}/caption-0-0.png,{folder}/nothing.png]"], "nothing.png"),
        (["image={folder}/caption-0-0.png", "checkpoint={folder}/none"], "no checkpoint at .*none"),
        (["image={folder}/caption-0-0.png", "checkpoint={folder}/empty.png"], "not a readable checkpoint"),
        (["image={folder}/caption-0-0.png", "instrution=x"], "unknown key 'instrution'. Did you mean 'instruction'"),
        ([], r"give .*image=\.\.\."),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [w.format(folder=folder) for w in words]
    given += [] if any(w.startswith("checkpoint=") for w in given) else [f"checkpoint={folder}"]
    code, out, err = cli(capsys, monkeypatch, *given)
    assert code != 0
    assert re.search(message, err), err
    assert err.startswith("error: ") and "Traceback" not in err + out
    assert len(err.strip().splitlines()) == 1


def test_the_command_itself(folder: Path) -> None:
    """In a process of its own, as a user starts it: the exit code and the absence of a traceback are the shell's."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "rsmoe.predict", "checkpoint=x", "imag=x.png"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_evaluation_scores_every_task(folder: Path) -> None:
    """The learned requests come back: texts, masks of the picture's size, embeddings of both sides."""
    model, codec, _ = load_run(load_checkpoint(folder))
    data = data_of(requests())
    data.datasets["test"] = {"hand": Listed(requests())}
    (outcome,) = evaluate(model=model, codec=codec, data=data, splits=["test"], beams=1, max_new=16)
    metrics = {r.metric: r.value for r in outcome.results}
    assert {m.split("/")[0] for m in metrics} == {"caption", "vqa", "change_caption", "mask", "retrieval", "routing"}
    by_id = {p.id: p for p in outcome.predictions}
    mask = by_id["mask-3"].mask
    assert mask is not None and mask.shape == (32, 32) and mask.dtype == bool
    batch = data.eval_collate([(s, 0) for s in requests()])
    answers = answer_batch(model, codec, batch, beams=1, max_new=16)
    for sample, answer in zip(requests(), answers, strict=True):
        if sample.task == "retrieval":
            index = model.names.index("retrieval")
            texts = model.experts[index].embed_text(read_texts(model, codec, index, sample.responses))  # type: ignore[operator]
            np.testing.assert_allclose(answer.text_embeddings, texts.numpy(), atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(answer.text_embeddings, axis=1), 1.0, atol=1e-5)
    assert metrics["vqa/overall"] == 100.0


# Two dates.

PAIR_EXPERTS = "expert=[change,mask]"
GRID = (0.001, 0.0, -74.0, 0.0, -0.001, -8.0)
HIGH, WIDE = 40, 52


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps that knows pairs alone, with a map of two kinds of change."""
    home = tmp_path_factory.mktemp("pairs")
    own = ("maps=[change]", "maps.change.kinds=2", *CALM)
    samples = [replace(s, task="change_caption", images=(s.images[0],) * 2) for s in requests() if s.task == "caption"]
    codec, words = codecs(PAIR_EXPERTS)
    stage = Stage(name="learn", steps=2, train=["*"], batch_size=2, losses={"text": 1.0, "label": 1.0})
    run_stages(
        model=tiny_model(*own, experts=PAIR_EXPERTS, scrambled=False), data=data_of(samples), stages=[stage],
        folder=home, seed=3, checkpoint_every=100, resume=None,
        hparams={"config": tiny_config(*own, experts=PAIR_EXPERTS), "codec": codec.state(),
                 "instruction_codec": words.state(), "change_classes": ["no change", "barn", "pond"]},
        trainer={"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1},
        logger=None,
    )  # fmt: skip
    return home


def write_raster(
    path: Path, *, seed: int = 0, bands: int = 3, size: tuple[int, int] = (HIGH, WIDE), transform: Any = GRID,
    crs: str | None = "EPSG:4326", hole: slice = slice(0, 0), tags: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    pixels = np.random.default_rng(seed).integers(1, 255, (bands, *size), dtype=np.uint8)
    pixels[:, :, hole] = 0
    place: dict[str, Any] = {"crs": crs, "transform": rasterio.Affine(*transform)} if crs else {}
    place |= {"height": size[0], "width": size[1], "count": bands, "photometric": "MINISBLACK"}
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", nodata=0, **place) as file:
        file.write(pixels)
        file.update_tags(**(tags or {}))
    return path


def test_two_dates_give_a_map_in_the_crs_of_the_first(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = write_raster(tmp_path / "1985.tif", seed=1, bands=4, hole=slice(0, 6))
    b = write_raster(tmp_path / "2020.tif", seed=2, bands=4, hole=slice(46, 52))
    out = tmp_path / "out"
    code, text, err = cli(
        capsys, monkeypatch, f"checkpoint={pairs}", f"image=[{a},{b}]", f"out={out}", "max_new=4",
        "classes=[no change,house,water]", "simplify_px=0",
    )  # fmt: skip
    assert code == 0, err
    assert "bands: the first 3 of 4" in text and "raster.bands=" in text and "warning" not in text
    assert "23.1 % of the pixels hold no data" in text
    assert "tiles of 32 px" in text and "words: the whole 52 x 40 px" in text
    written = {p.name for p in out.iterdir()} - {
        "mask.tif", "mask.tif.aux.xml", "mask.geojson", "mask_crs.geojson", "mask.qml", "mask_crs.qml",
    }  # fmt: skip
    assert written == {  # untrained words may say [SEG]
        "answer.json", "answers.jsonl", "answers.geojson", "answers_crs.geojson", "change.geojson",
        "change_crs.geojson", "change.png", "change.tif",
        "change.tif.aux.xml", "change.qml", "change_crs.qml",
    }  # fmt: skip
    with rasterio.open(out / "change.tif") as file:
        kinds = file.read(1)
        assert file.crs.to_epsg() == 4326 and tuple(file.transform)[:6] == pytest.approx(GRID)
    assert (kinds[:, :6] == 255).all() and (kinds[:, 46:] == 255).all() and (kinds[:, 6:46] < 3).all()
    polygons = json.loads((out / "change.geojson").read_text())["features"]
    assert {p["properties"]["name"] for p in polygons} <= {"house", "water"}
    assert polygons
    assert rsmoe.load(pairs).run.change_classes == ("no change", "barn", "pond")  # where none are typed
    shapes = [(p["geometry"], p["properties"]["class"]) for p in polygons]
    again = rasterize(shapes, out_shape=kinds.shape, transform=rasterio.Affine(*GRID))
    np.testing.assert_array_equal(again, np.where(kinds == 255, 0, kinds))
    told = json.loads((out / "answer.json").read_text())
    known = kinds != 255
    assert told["changed"] == pytest.approx(float((kinds[known] > 0).mean()))
    assert told["cells"] == pytest.approx(
        changed_by_cell(count_kinds(np.where(known, kinds, 0).astype(np.uint8), known))
    )
    assert told["gsd_m"] == pytest.approx(110, rel=0.02)
    assert np.asarray(Image.open(out / "change.png")).std() > 10


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"crs": None}, "b.tif has no coordinate system"),
        ({"bands": 4}, "different bands: a.tif has band 1, band 2, band 3; b.tif has .*band 4.*raster.bands="),
        ({"transform": (0.001, 0.0, -70.0, 0.0, -0.001, -8.0)}, "no common area.*a.tif covers longitude -74"),
        ({"hole": slice(0, WIDE)}, "nowhere do all of them have data"),
    ],
)
def test_dates_that_do_not_go_together_are_refused_with_the_reason(
    second: dict[str, Any], message: str, pairs: Path, tmp_path: Path
) -> None:
    paths = [write_raster(tmp_path / "a.tif"), write_raster(tmp_path / "b.tif", seed=1, **second)]
    with pytest.raises(UserError, match=rf"(?s){message}"):
        rsmoe.load(pairs).ask(tuple(paths), max_new=2)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_without_a_place_must_be_of_one_size(pairs: Path, tmp_path: Path) -> None:
    paths = [write_raster(tmp_path / f"{n}.tif", crs=None, size=size) for n, size in (("a", (9, 9)), ("b", (9, 8)))]
    with pytest.raises(UserError, match="different sizes and not all georeferenced.*a.tif 9 x 9 x 3, b.tif 8 x 9 x 3"):
        rsmoe.load(pairs).ask(tuple(paths), max_new=2)
    for path in paths:
        Image.fromarray(np.zeros((9, 9 if path.stem == "a" else 7, 3), np.uint8)).save(path.with_suffix(".png"))
    with pytest.raises(UserError, match="a.png 9 x 9 x 3, b.png 7 x 9 x 3"):
        rsmoe.load(pairs).ask(tuple(p.with_suffix(".png") for p in paths), max_new=2)


def test_one_date_of_a_pair_is_missing(pairs: Path, tmp_path: Path) -> None:
    here = write_raster(tmp_path / "2020.tif")
    with pytest.raises(UserError, match=r"no image file .*1985.tif"):
        rsmoe.load(pairs).ask((tmp_path / "1985.tif", here))
    with pytest.raises(UserError, match=r"compares two dates, got one .*image=\[before.tif,after.tif\]"):
        rsmoe.load(pairs).ask(here)


@pytest.mark.parametrize("by", ["names", "tags"])
def test_swapped_dates_and_the_same_picture_twice_are_warned_of(
    by: str, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stems = ("site_2020", "site_1985-07-01") if by == "names" else ("new", "old")
    years = ("2020:07:01 10:00:00", "1985:07:01 10:00:00")
    paths = [
        write_raster(tmp_path / f"{s}.tif", seed=3, tags={"TIFFTAG_DATETIME": y} if by == "tags" else None)
        for s, y in zip(stems, years, strict=True)
    ]
    code, text, err = cli(
        capsys, monkeypatch, f"checkpoint={pairs}", f"image=[{paths[0]},{paths[1]}]", "max_new=2"
    )  # fmt: skip
    assert code == 0, err
    flat = " ".join(text.split())
    assert f"warning: {stems[0]}.tif (2020-" in flat and "but is younger" in flat
    assert f"warning: {stems[0]}.tif and {stems[1]}.tif are the same picture" in flat
    assert "add out=folder" in flat
    code, text, _ = cli(capsys, monkeypatch, f"checkpoint={pairs}", f"image=[{paths[1]},{paths[0]}]", "max_new=2")
    assert "younger" not in text


def test_another_grid_is_warped_and_said(pairs: Path, tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif")
    b = write_raster(tmp_path / "b.tif", seed=1, size=(HIGH // 2, WIDE // 2), transform=(0.002, 0, -74, 0, -0.002, -8))
    given = rsmoe.load(pairs).ask((a, b), max_new=2, tile=None)
    assert any("b.tif (26 x 20, EPSG:4326) is warped to the grid of a.tif" in note for note in given.notes)
    assert given.change.kinds.shape == given.dates.valid.shape == given.change_map.shape == (HIGH, WIDE)


def test_tiles_cover_everything_and_mix_without_seams(pairs: Path) -> None:
    model, codec, words = load_run(load_checkpoint(pairs))
    look = Collate(
        codec=codec, instruction_codec=words, image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3, inference=True
    )
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 255, (70, 40, 3), dtype=np.uint8) for _ in range(2))
    valid = np.ones((70, 40), bool)
    valid[:33] = False
    dates = Dates(images=images, valid=valid, georeference=None, notes=())
    with torch.no_grad():
        model.maps["change"].logits.weight.zero_()
        model.maps["change"].logits.bias.copy_(torch.tensor([0.0, 1.0, 0.5]))
    found = map_tiles(model, look, dates, name="change", tile_px=32)
    assert (found.kinds[33:] == 1).all() and not found.kinds[:33].any()  # no data is never a change
    assert found.tiles == 4  # of six: two hold no data
    whole = map_tiles(model, look, dates, name="change", tile_px=0)
    assert whole.tiles == 1 and whole.tile_px == 70
    np.testing.assert_array_equal(whole.kinds, found.kinds)
    same = map_tiles(model, look, replace(dates, images=(images[0], images[0])), name="change", tile_px=32)
    assert same.kinds.shape == (70, 40)
    with pytest.raises(UserError, match="two dates and tile >= 0"):
        map_tiles(model, look, dates, name="change", tile_px=-1)
    del model.maps["change"]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"maps=\[change\]"):
        map_tiles(model, look, dates, name="change", tile_px=32)


def test_tiles_are_in_the_light_of_the_whole_pair(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, codec, words = load_run(load_checkpoint(pairs))
    look = Collate(
        codec=codec, instruction_codec=words, image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3, inference=True,
        match_levels=True,
    )  # fmt: skip
    seen: dict[str, tuple[np.ndarray, ...]] = {}
    read = Collate.__call__

    def reading(self: Collate, items: Any) -> Batch:
        assert not self.transform.match_levels
        seen.update({sample.id: sample.images for sample, _ in items})
        return read(self, items)

    monkeypatch.setattr(Collate, "__call__", reading)
    first = np.random.default_rng(0).integers(60, 120, (64, 64, 3), dtype=np.uint8)
    second = (0.5 * first + 90).round().astype(np.uint8)  # haze
    second[:32, :32] = 230  # a roof as large as a tile
    valid = np.ones((64, 64), bool)
    valid[:, 60:] = False
    for image in (first, second):
        image[~valid] = 0
    map_tiles(
        model, look, Dates(images=(first, second), valid=valid, georeference=None, notes=()), name="change", tile_px=32
    )
    roof, ground = seen["0,0"], seen["32,0"]
    assert np.abs(ground[0].astype(int) - ground[1]).max() <= 2 and (roof[1].astype(int) - roof[0]).min() > 80
    assert not seen["32,32"][1][:, -4:].any(), "no data stays none"
    assert look.transform.match_levels


def test_cells_say_what_share_of_their_ground_changed() -> None:
    kinds, valid = np.zeros((9, 9), np.uint8), np.ones((9, 9), bool)
    kinds[0:3, 0:3], kinds[3, 3] = 2, 1
    valid[6:] = False
    valid[0] = False
    cells = changed_by_cell(count_kinds(kinds, valid))
    assert cells["top-left"] == 1.0 and cells["center-center"] == pytest.approx(1 / 9)
    assert cells["top-right"] == 0.0 and cells["bottom-left"] is None


@pytest.mark.real_data
def test_landsat_of_pucallpa(pairs: Path, tmp_path: Path) -> None:
    folder = Path(os.environ["RSMOE_DATA"]) / "geotiff" / "landsat_pucallpa"
    images = [folder / "1985.tif", folder / "2020.tif"]
    given = rsmoe.load(pairs).ask(tuple(images), max_new=2, raster={"bands": [1, 2, 3]}, tile=0)
    assert given.change.kinds.shape == (377, 697) == given.dates.valid.shape
    assert given.dates.georeference == open_raster(images[0]).georeference
    stored = np.stack([read_stored(path) for path in images])
    empty = (stored == 0).all(axis=-1).any(axis=0)
    np.testing.assert_array_equal(given.dates.valid, ~empty)
    assert not given.change.kinds[empty].any()


def read_stored(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, -1)

"""Maps of names: scores that are standard, an aggregation that knows no class, the command and its mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from rsmoe.commands import segment
from rsmoe.commands.contrast import contrast
from rsmoe.config import compose
from rsmoe.contrast.cost_aggregation import CostAggregation
from rsmoe.contrast.open_names import OpenNames
from rsmoe.errors import UserError
from rsmoe.evaluation.open_map import OpenMap, load_aggregation, save_aggregation
from rsmoe.geo.dates import Dates
from rsmoe.studies.open_vocabulary import Windows, interval, scores, train

WIDTHS, DIM = (6, 10), 12


def seen(count: int = 4, seed: int = 0) -> tuple[Tensor, tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    cells = F.normalize(torch.randn(count, DIM, 3, 3, generator=generator) + 0.5, dim=1)
    return cells, tuple(torch.randn(count, w, s, s, generator=generator) for w, s in zip(WIDTHS, (6, 3), strict=True))


def names(count: int = 5) -> Tensor:
    return F.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(9)), dim=1)


def fitted() -> CostAggregation:
    torch.manual_seed(1)
    made = CostAggregation(dim=DIM, pyramid_widths=WIDTHS, channels=8)
    made.fit(*seen())
    return made


def test_costs_are_standard_scores_of_the_pictures_that_were_fitted() -> None:
    costs = fitted().costs(seen()[0], names())
    assert costs.shape == (4, 5, 3, 3)
    torch.testing.assert_close(costs.mean((0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(costs.std((0, 2, 3)), torch.ones(5), atol=1e-4, rtol=0)


def test_a_name_is_aggregated_by_itself() -> None:
    made, (cells, pyramid) = fitted(), seen()
    all_of_them = made(made.costs(cells, names()), pyramid)
    assert all_of_them.shape == (4, 5, 6, 6)
    alone = made(made.costs(cells, names()[2:3]), pyramid)
    torch.testing.assert_close(all_of_them[:, 2:3], alone)
    torch.testing.assert_close(made(made.costs(cells, names().flip(0)), pyramid), all_of_them.flip(1))
    many = made(made.costs(cells, names(1000)), pyramid)
    assert many.shape == (4, 1000, 6, 6)


def test_like_cells_are_told_alike_and_all_of_it_learns() -> None:
    made, (cells, pyramid) = fitted(), seen()
    flat = tuple(torch.ones_like(level) for level in pyramid)
    with torch.no_grad():
        made.share.fill_(50.0)
        told = made(made.costs(cells, names()), flat)
    torch.testing.assert_close(told, told.mean((2, 3), keepdim=True).expand_as(told))  # every cell looks the same
    fitted_again = fitted()
    fitted_again(fitted_again.costs(cells, names()), pyramid).square().mean().backward()
    for name, parameter in fitted_again.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name


def test_what_is_left_out_teaches_nothing() -> None:
    cells, pyramid = seen(8)
    classes = torch.randint(0, 5, (8, 6, 6), generator=torch.Generator().manual_seed(3))
    first = train([Windows(cells=cells, pyramid=pyramid, classes=classes)], names(), left_out=2, seed=0)
    hidden = torch.where(classes == 2, 255, classes)
    again = train([Windows(cells=cells, pyramid=pyramid, classes=hidden)], names(), left_out=2, seed=0)
    whole = train([Windows(cells=cells, pyramid=pyramid, classes=classes)], names(), left_out=None, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.query.weight, whole.query.weight)


def test_intervals_are_paired() -> None:
    table = np.zeros((6, 5, 6))
    table[:, range(5), range(5)] = 8
    table[:, range(5), 5] = np.arange(6)[:, None]
    worse = np.concatenate([np.ones((6, 1)), np.zeros((6, 1)), table.reshape(6, -1)], 1)
    assert scores(worse)["miou"] == pytest.approx(100 * 48 / 63)
    assert interval(worse, worse, "miou") == "+0.0 [0.0, 0.0]"
    better = worse.copy()
    better[:, 2:] = np.where(np.arange(6) < 5, table, 0).reshape(6, -1)
    low, high = map(float, interval(better, worse, "iou/water").split("[")[1].rstrip("]").split(","))
    assert 0 < low < 100 * (1 - 48 / 63) < high


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towers") / "run"
    folder.mkdir()
    words = (
        "recipe=clip_scenes", "corpus.scenes.reader.size=12", "benchmark.scenes_retrieval.reader.size=6",
        "image_head.dim=16", "vision=efficientnet_lite0", "vision.finest=32", "image_size=64", "text_tower.width=16",
        "image_head.heads=2", "image_head.hidden=16", "stage.batch_size=4", "stage.steps=2",
        'stage.train=["*",-vision]', "draws=0", "logger=csv",
    )  # fmt: skip
    config: Any = OmegaConf.to_container(compose(list(words), name="contrast"), resolve=True)
    contrast(config, folder)
    return folder


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    options = {"driver": "GTiff", "height": 300, "width": 400, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    grid = rasterio.Affine(10.0, 0.0, 5e5, 0.0, -10.0, 5e6)
    pixels = np.random.default_rng(0).integers(1, 255, (3, 300, 400), dtype=np.uint8)
    with rasterio.open(tmp_path / "a.tif", "w", **options, transform=grid, photometric="RGB") as file:
        file.write(pixels)
    return tmp_path / "a.tif"


Segment = Callable[..., str]


@pytest.fixture
def typed(towers: Path, raster: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Segment:
    def call(*words: str) -> str:
        line = [f"checkpoint={towers}", f"image={raster}", f"out={raster.parent / 'out'}", *words]
        monkeypatch.setattr("sys.argv", ["segment", *line])
        segment.cli()
        return capsys.readouterr().out

    return call


def test_the_command_writes_a_map_in_the_place_of_its_raster(typed: Segment, raster: Path, towers: Path) -> None:
    said = typed("names={water:[water],built:[houses,road]}", "device=cpu")
    assert "4 tiles of 288 px" in said
    with rasterio.open(raster.parent / "out/land_cover.tif") as file:
        drawn = file.read(1)
        assert file.crs.to_epsg() == 32632 and file.shape == (300, 400) and set(np.unique(drawn)) <= {0, 1}
    assert (raster.parent / "out/land_cover.geojson").is_file() and (raster.parent / "out/land_cover.png").is_file()
    assert "other" in typed("names=[water]", "tile=0") and "other" not in typed("names=[water,road]")
    assert "100.0 % other" in typed("names=[water,road]", "other=1000")


def test_the_command_sees_a_raster_at_any_gsd(typed: Segment, raster: Path) -> None:
    said = typed("names=[water,road]", "gsd_m=20", "tile=100")
    assert "6 tiles of 100 px" in said and "read at 20 m: 400 x 300 pixels" in said
    with rasterio.open(raster.parent / "out/land_cover.tif") as file, rasterio.open(raster) as own:
        assert file.shape == (150, 200) and file.crs == own.crs
        np.testing.assert_allclose(file.bounds, own.bounds)
    stairs = typed("names=[water,road]", "gsd_m=20", "tile=100", "simplify_px=0")
    assert "6 tiles of 100 px" in stairs


def test_what_was_learned_belongs_to_its_towers(towers: Path, raster: Path, typed: Segment, tmp_path: Path) -> None:
    opened = OpenNames.open(str(towers), device="cpu")
    asked = OpenMap(opened=opened, names={"water": ["water"], "road": ["road"]})
    assert opened.model.vision.pyramid_widths == (112, 320)
    cells, pyramid = opened.cells(torch.randn(2, 3, 96, 96))
    assert cells.shape == (2, 16, 3, 3) and [tuple(p.shape[2:]) for p in pyramid] == [(6, 6), (3, 3)]
    made = CostAggregation(dim=16, pyramid_widths=(112, 320))
    made.fit(cells, pyramid)
    save_aggregation(tmp_path / "own.safetensors", made, opened)
    again = load_aggregation(tmp_path / "own.safetensors", opened)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in made.state_dict().items())
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    dates = Dates(images=(image,), valid=np.ones((60, 90), bool), georeference=None, notes=())
    trained = OpenMap(opened=opened, names={"water": ["water"], "road": ["road"]}, aggregation=again)
    assert (
        np.asarray(trained.draw(dates, tile_px=40).kinds).shape == np.asarray(asked.draw(dates, tile_px=40).kinds).shape
    )
    island = np.zeros((60, 90), bool)
    island[:10, 10:20] = True
    drawn = np.asarray(asked.draw(Dates(images=(image,), valid=island, georeference=None, notes=()), tile_px=10).kinds)
    assert (drawn[~island] == 255).all() and (drawn[island] < 2).all()
    assert "tiles" in typed("names=[water,road]", f"aggregation={tmp_path / 'own.safetensors'}")
    opened.fingerprint = "another"
    with pytest.raises(UserError, match="learned with other towers"):
        load_aggregation(tmp_path / "own.safetensors", opened)
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot be read"):
        load_aggregation(tmp_path / "bad.safetensors", opened)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["names=[]"], "names=[]: expected names"),
        (["names=[zebrafish,water]"], "'zebrafish' has no words that this text tower has read (unknown: zebrafish)"),
        (["names=[water,water]"], "names: water stands twice"),
        (["names=[other]", "other=1"], "none 'other'"),
        ([f"names={{{','.join(f'n{i}:[water]' for i in range(300))}}}"], "300 names: expected 1 to 254"),
        ([f"names=[{','.join(f'n{i}' for i in range(1000))}]"], "1000 names: expected 1 to 254"),
        (["names=[water]", "image=none.png"], "no image file none.png"),
        (["names=[water]", "gsd_m=0"], "gsd_m=0: expected a number above 0"),
        (["names=[water]", "gsd_m=900"], "a.tif has pixels of 10 x 10 m, so that all of it would be 4 x 3 pixels"),
        (["names=[water]", "simplify_px=2"], "simplify_px=2: expected"),
        (["names=[water]", "checkpoint=starter"], "starter"),
    ],
)
def test_mistakes_say_what_to_type(words: list[str], message: str, typed: Segment) -> None:
    with pytest.raises(SystemExit) as error:
        typed(*words)
    assert message in str(error.value)

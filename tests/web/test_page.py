"""The page in a real browser: upload, turns, layers, the router, errors; at the width of a phone and of a screen."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import warp
from support.browser import BROWSER, Browser
from support.checkpoints import tiny_run
from support.served import geotiff, pixels, png, served

import rsmoe
from rsmoe.evaluation.assistant import Assistant

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt install chromium")
SHOTS = os.environ.get("RSMOE_SCREENSHOTS")
READY = "!document.getElementById('ask').disabled"
CANVAS = "document.getElementById('view').toDataURL()"
SWITCH = "document.querySelectorAll('#layers input').forEach(box => box.click())"
SLIDER = "$('slider').value = {}; $('slider').oninput()"
ASK = "$('words').value = '{}'; $('form').requestSubmit()"
DONE = "document.querySelectorAll('.turn table').length == {}"
SAVE = "[...document.querySelectorAll('.turn .answer button')].find(b => b.innerText.startsWith('Save {}')).click()"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    home = tmp_path_factory.mktemp("run")
    return rsmoe.load(tiny_run(home, "temporal.dropout=0.0", "maps=[change]"), device="cpu")


@pytest.fixture(scope="module")
def url(model: Assistant) -> Iterator[str]:
    with served(model, max_mb=1) as (found, _):
        yield found


def opened(browser: Browser, url: str) -> None:
    browser.call("Page.navigate", url=url)
    browser.wait("document.getElementById('model') && document.getElementById('model').options.length > 1")


def shot(browser: Browser, name: str) -> None:
    if SHOTS:
        browser.screenshot(Path(SHOTS, f"{name}.png"))


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_two_dates_in_several_turns(url: str, tmp_path: Path, width: int, scheme: str, model: Assistant) -> None:
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(png(pixels(i, (96, 120))))
    with Browser(profile=tmp_path / "profile", width=width) as browser:
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        opened(browser, url)
        browser.upload("#file", tmp_path / "0.png", tmp_path / "1.png")
        browser.wait(READY)
        browser.run("document.getElementById('words').focus()")
        browser.call("Input.insertText", text="what has changed ?")
        browser.press("Enter", "\r")  # by keyboard
        browser.wait(DONE.format(1))
        names = browser.run(
            "[...document.querySelectorAll('.turn th button, .turn .rest button')].map(e => e.innerText)"
        )
        assert sorted(names) == sorted(model.experts)
        assert "change" in browser.run("document.getElementById('layers').innerText")
        with_layers = browser.run(CANVAS)
        browser.run(SWITCH)
        assert browser.run(CANVAS) != with_layers
        browser.run(SLIDER.format(0))  # all of the first date
        content = base64.b64decode(browser.run(CANVAS).partition(",")[2])
        canvas = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        step = canvas.shape[1] // 120
        seen = canvas[step // 2 :: step, step // 2 :: step]
        np.testing.assert_array_equal(seen[:, :-1], pixels(0, (96, 120))[:, :-1])  # the last column has the divide
        browser.run(SWITCH)
        browser.run(SLIDER.format(50))
        assert len({with_layers, browser.run(CANVAS)}) == 1
        browser.run(ASK.format("and where ?"))
        browser.wait(DONE.format(2))
        assert browser.run("turns.map(t => t.words).join('|')") == "what has changed ?|and where ?"
        browser.run("document.querySelector('.turn th button').click()")  # one expert alone
        browser.wait(DONE.format(3))
        assert "100.0 %" in browser.run("document.querySelector('.turn table').innerText")
        browser.run("$('temperature').value = 1.5; $('seed').value = 3")
        assert browser.run("sampling()") == {"temperature": 1.5, "top_p": 1, "seed": 3}
        browser.run(ASK.format("how many ships ?"))
        browser.wait(DONE.format(4))
        browser.run("$('temperature').value = 0")
        browser.run("$('words').value = 'how many ?'; $('each').click()")
        browser.wait(DONE.format(5))
        rows = "[...document.querySelector('.turn').querySelectorAll('th')].map(e => e.innerText)"
        assert browser.run(rows) == list(model.experts)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("shown.geojson.type") == "FeatureCollection"
        shot(browser, f"two-dates-{width}")
        assert browser.complaints == [] and all(address.startswith(url) for address in browser.fetched)


def test_a_geotiff_is_shown_and_errors_are_said(url: str, tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif", pixels(2, (64, 80)))
    (tmp_path / "b.png").write_bytes(b"no picture <b>at all</b>")
    (tmp_path / "large.png").write_bytes(bytes(2_000_000))
    with Browser(profile=tmp_path / "profile", width=1000) as browser:
        opened(browser, url)
        browser.upload("#file", tmp_path / "a.tif")
        browser.wait(READY)
        browser.run(
            "document.querySelector('#examples button').click(); document.getElementById('form').requestSubmit()"
        )
        browser.wait(DONE.format(1))
        assert "EPSG:32632" in browser.run("document.querySelector('.turn ul.notes').innerText")
        browser.wait("!document.getElementById('stage').hidden && document.getElementById('view').width >= 80")
        shot(browser, "geotiff")
        browser.upload("#file", tmp_path / "large.png")
        browser.wait("[...document.querySelectorAll('.bad')].some(e => e.innerText.includes('larger than the 1 MB'))")
        browser.run("document.getElementById('fresh').click(); dates = []")
        browser.upload("#file", tmp_path / "b.png")
        browser.wait("dates.length == 1 && " + READY)
        browser.run(ASK.format("<img src=x onerror=alert(1)>"))
        browser.wait("[...document.querySelectorAll('.bad')].some(e => e.innerText.includes('not a picture'))")
        assert browser.run("document.querySelectorAll('.turn img').length") == 0
        assert browser.run("document.querySelector('.asked').innerText") == "<img src=x onerror=alert(1)>"


def test_a_georeferenced_pair_on_a_map_and_as_files(url: str, tmp_path: Path, model: Assistant) -> None:
    for i in range(2):
        geotiff(tmp_path / f"{i}.tif", pixels(i, (64, 80)))
    saved = tmp_path / "saved"
    with Browser(profile=tmp_path / "profile", width=1000) as browser:
        opened(browser, url)
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(saved))
        browser.upload("#file", tmp_path / "0.tif", tmp_path / "1.tif")
        browser.wait(READY)
        browser.run(ASK.format("what has changed ?"))
        browser.wait(DONE.format(1) + " && !!document.querySelector('.turn .answer')")
        browser.wait("shown && images.every(Boolean)")
        switches = browser.run("[...document.querySelectorAll('#layers label')].map(e => e.innerText.trim())")
        assert switches[-1] == "graticule" and any(name.startswith("change") for name in switches)
        with_lines = browser.run(CANVAS)
        browser.run("[...document.querySelectorAll('#layers input')].pop().click()")
        assert browser.run(CANVAS) != with_lines
        left, top, width, height = browser.run(
            "(b => [b.left, b.top, b.width, b.height])($('view').getBoundingClientRect())"
        )
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 2, y=top + height / 4)
        lon, lat = warp.transform("EPSG:32632", "EPSG:4326", [500_400], [4_999_840])  # pixel 40, 16 of 10 m
        said = browser.wait("$('where').innerText")
        found = re.fullmatch(r"pixel (\d+), (\d+): ([\d.]+)° N, ([\d.]+)° E", said)
        assert found is not None
        assert [float(found[4]), float(found[3])] == pytest.approx([*lon, *lat], abs=2e-4)  # a pixel or two
        for kind, name in (("GeoTIFF (change)", "change.tif"), ("GeoJSON", "answer.geojson"), ("CSV", "answer.csv")):
            browser.run(SAVE.format(kind))
            end = time.monotonic() + 20
            while not (saved / name).is_file():
                assert time.monotonic() < end, f"{name} was not saved"
                time.sleep(0.05)
        prompts = browser.run("document.querySelector('.turn .prompts').textContent")
        assert any(f"{name}: " in prompts for name in model.experts)
        assert browser.complaints == []
    with rasterio.open(saved / "change.tif") as file:
        assert file.crs == "EPSG:32632" and file.shape == (64, 80)
        changed = int((file.read(1) == 1).sum())
    features = json.loads((saved / "answer.geojson").read_text())["features"]
    with (saved / "answer.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert (
        len(rows) == len(features) and sum(int(row["pixels"]) for row in rows if row["name"] == "change") == changed > 0
    )
    assert all(8.9 < float(row["x"]) < 9.1 and 45 < float(row["y"]) < 45.2 for row in rows)


def test_examples_and_a_series(url: str, tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(pixels(i, (40, 40))))
    with Browser(profile=tmp_path / "profile", width=390) as browser:
        opened(browser, url)
        browser.run("document.querySelectorAll('#tries button')[1].click()")
        browser.wait("dates.map(d => d.name).join() == 'before.tif,after.tif'")
        browser.run(ASK.format("what has changed ?"))
        browser.wait(DONE.format(1) + " && images.every(Boolean) && !$('stage').hidden")
        assert browser.run("$('left').hidden")
        browser.upload("#file", *(tmp_path / f"{i}.png" for i in range(3)))
        browser.wait("dates.length == 3 && !$('left').hidden")
        first = browser.run(CANVAS)
        browser.run("$('right').value = 1; $('right').onchange()")
        assert browser.run(CANVAS) != first
        assert browser.run("document.documentElement.scrollWidth") <= 390


def test_cells_of_a_table_are_no_formulas(url: str, tmp_path: Path) -> None:
    with Browser(profile=tmp_path / "profile", width=390) as browser:
        opened(browser, url)
        cells = browser.run("['=1+1', '@a', '-x', '-1.5', 'a, b', 'say \"hi\"', null, 3].map(cell)")
        assert cells == ['"\'=1+1"', '"\'@a"', '"\'-x"', "-1.5", '"a, b"', '"say ""hi"""', "", "3"]
